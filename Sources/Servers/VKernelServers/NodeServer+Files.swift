import VProtocol
import VRuntime

/// The texts of a node's files below `host/<host>`: lines of a word and its values.
extension NodeServer {
  /// Asks the peers, waits for those that can be expected to answer, then calls its argument.
  var askingPeers: @Sendable (@escaping @Sendable () -> Void) -> Void {
    { [self] body in askPeers(completion: body) }
  }

  /// The node, without its counters and peers.
  var statusText: String { Self.text(statusLines(snapshot())) }

  /// All counters since the start of the node: name, count, unit.
  var countersText: String {
    let snapshot = snapshot()
    let counters = snapshot.counters.map { "\($0.name) \($0.count) \(Self.unit(of: $0.name))" }
    var dropped: [String: Int] = [:]
    for kind in snapshot.rejected { dropped[kind.reason, default: 0] += kind.count }
    return Self.text(
      ["window \(uptime) ms"] + counters
        + dropped.sorted { $0.key < $1.key }.map { "dropped \($0.value) packets \($0.key)" })
  }

  /// The other kernels as this one sees them, and why others are not heard.
  var peersText: String {
    let snapshot = snapshot()
    return Self.text(peerLines(snapshot) + rejectionLines(snapshot))
  }

  /// The address of each known kernel, and so of its entities: kernel, address, host.
  var mapText: String {
    let own = "\(kernel) \(addresses().first ?? "-") \(backplane.host)"
    let others = snapshot().peers.map { peer in
      "\(peer.kernel) \(peer.locator) \(peer.host ?? "-")"
    }
    return Self.text([own] + others)
  }

  private static func unit(of counter: String) -> String {
    switch counter {
    case "requestsSent", "duplicates", "principalsRefused": "requests"
    case "responsesSent": "responses"
    case "retransmissions": "transmissions"
    case "probesSent": "probes"
    case "notifiesSent", "multicastsSent": "messages"
    case "keyDerivations": "keys"
    case "packetsIgnored", "multicastsReturned", "multicastsHeard": "packets"
    case "silentPeers": "silences"
    default: "times"
    }
  }

  private static func text(_ lines: [String]) -> String { lines.map { $0 + "\n" }.joined() }
}
