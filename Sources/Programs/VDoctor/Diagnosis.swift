import VCommand
import VProtocol

/// One thing that is wrong, for a person: where, what it is, and what to do about it.
struct Trouble: Encodable {
  enum Cause: String, Encodable {
    /// Another cluster key, or none on one side.
    case key
    /// Another version of the protocol.
    case version
    case clock
    /// Another node has this host's name, and started earlier.
    case name
    case multicast
    /// The node uses an address that does not lead to the others.
    case interface
    case firewall
    /// The host is up, but no node listens at its port.
    case refused
    /// The host is up, and it is unknown whether a node runs on it.
    case silent
    /// Nothing comes back.
    case unreachable
  }

  /// A host's name, or an address if no name is known.
  var host: String
  var cause: Cause
  var detail: String
  var remedy: String

  var text: String { "\(host): \(cause.rawValue): \(detail)\n    \(remedy)" }
}

/// Finds out why others are silent: from the node's counters, and by probes of the network.
struct Diagnosis {
  private(set) var troubles: [Trouble] = []
  private let report: NodeReport
  private let prober: Prober
  private let own: String

  /// An older rejected packet tells nothing about the present.
  private static let rejectionMillisecondsMax = 120_000
  /// If clocks differ by more, tools such as make misread the times of files.
  private static let clockMillisecondsMax = 5000
  /// A younger node may not have heard of others yet.
  private static let settledMilliseconds = 1500
  private static let namesakeMilliseconds = 12_000
  /// Every node sends to all others at least this often.
  private static let multicastMilliseconds = 35_000

  init(_ report: NodeReport, _ prober: Prober) {
    self.report = report
    self.prober = prober
    own = report.values["host"] ?? "-"
    guard report.isSealed else { return }
    if let holder = report.values["name_holder"] {
      // The node sends nothing to others meanwhile, so their silence means nothing.
      troubles = [
        Trouble(
          host: own, cause: .name,
          detail: "\(holder) has the name \(own) too, and had it before: this host is alone, with "
            + "its own /v, until that node ends",
          remedy: "give one of both another name: host in its configuration")
      ]
      return
    }
    // If this host's address is gone it hears nobody, and no other host is at fault.
    guard !isAddressGone() else { return }
    var explained: Set<Substring> = []
    let alive = Set(
      report.peers.filter { !$0.isSilent }.compactMap { $0.locator.map(Self.address) })
    for peer in report.peers where peer.host == own {
      noteNamesake(peer)
    }
    for peer in report.peers where peer.isSilent && peer.host != own {
      guard let locator = peer.locator, !alive.contains(Self.address(locator)),
        explained.insert(Self.address(locator)).inserted
      else { continue }
      explain(locator, peer.name, heard: peer.heardMilliseconds)
    }
    for locator in report.configured where !alive.contains(Self.address(locator)) {
      let address = Self.address(locator)
      guard !report.addresses.contains(String(address)), explained.insert(address).inserted
      else { continue }
      explain(locator, locator, heard: nil)
    }
    let meant = Set(report.configured.map(Self.address))
    for rejected in report.rejected where !alive.contains(Self.address(rejected.source)) {
      guard !explained.contains(Self.address(rejected.source)), isRecent(rejected),
        let trouble = trouble(of: rejected, rejected.source),
        // Another cluster on the same network has its own key, and is no problem of this one.
        alive.isEmpty || trouble.cause != .key || meant.contains(Self.address(rejected.source))
      else { continue }
      explained.insert(Self.address(rejected.source))
      troubles.append(trouble)
    }
    for peer in report.peers where !peer.isSilent { compareClock(peer) }
    lookAtOwnNetwork(isAlone: alive.isEmpty)
  }

  /// The node with this host's name probes this host every 5 s.
  private mutating func noteNamesake(_ peer: NodeReport.Peer) {
    guard let heard = peer.heardMilliseconds, heard < Self.namesakeMilliseconds else { return }
    troubles.append(
      Trouble(
        host: own, cause: .name,
        detail: "\(peer.locator ?? peer.kernel) was started under the name \(own) as well, later, "
          + "and is alone for as long as this host is there",
        remedy: "give one of both another name: host in its configuration"))
  }

  private static func address(_ locator: String) -> Substring { NodeReport.address(of: locator) }

  private func isRecent(_ rejected: NodeReport.Rejected) -> Bool {
    rejected.lastMilliseconds < Self.rejectionMillisecondsMax
  }

  /// Why nothing is heard from an address where a node should be.
  ///
  /// Packets that were rejected before it was last heard are no reason.
  private mutating func explain(_ locator: String, _ name: String, heard: Int?) {
    let address = Self.address(locator)
    let rejected = report.rejected.first {
      Self.address($0.source) == address && isRecent($0)
        && $0.lastMilliseconds < heard ?? .max && trouble(of: $0, name) != nil
    }
    if let trouble = rejected.flatMap({ trouble(of: $0, name) }) {
      troubles.append(trouble)
      return
    }
    troubles.append(probe(locator, name))
  }

  /// The problem that a rejected packet shows; nil if it shows nothing about its sender.
  private func trouble(of rejected: NodeReport.Rejected, _ name: String) -> Trouble? {
    let count = "(\(rejected.count) of \(rejected.source))"
    if rejected.reason.hasPrefix("badVersion") || rejected.reason.hasPrefix("badDomain") {
      return Trouble(
        host: name, cause: .version,
        detail: "its packets are of another version of the protocol: \(rejected.reason) \(count)",
        remedy: "run the same version of V on both hosts")
    }
    switch rejected.reason {
    case "badSeal":
      return Trouble(
        host: name, cause: .key,
        detail: "its packets do not open with this host's cluster key \(count)",
        remedy: "copy the key_file of \(own) to it, mode 600, and start its node anew")
    case "unexpectedSealing":
      return Trouble(
        host: name, cause: .key,
        detail: "its packets are not sealed: it has no cluster key \(count)",
        remedy: "give both hosts the same key_file and start their nodes anew")
    default: return nil
    }
  }

  /// Probes an address from which nothing comes.
  private func probe(_ locator: String, _ name: String) -> Trouble {
    let address = String(Self.address(locator))
    let port = locator.split(separator: ":").last.map(String.init) ?? ""
    switch prober.probe(locator) {
    case .blockedHere:
      return Trouble(
        host: name, cause: .firewall,
        detail: "\(own) itself does not let packets out to \(locator)",
        remedy: "let out \(port)/udp in the firewall of \(own) (nft list ruleset)")
    case .refused:
      return Trouble(
        host: name, cause: .refused,
        detail: "\(address) refuses port \(port): no node runs there, it uses another address, "
          + "or a firewall rejects the port",
        remedy: "there: v doctor; mount/up starts its node; nft list ruleset shows its firewall")
    case .unreachable(let reason):
      return Trouble(
        host: name, cause: .unreachable, detail: "no way to \(address): \(reason)",
        remedy: "see ip route get \(address)")
    case .silent(answersPing: true):
      return Trouble(
        host: name, cause: .silent,
        detail: "\(address) answers a ping, but nothing comes back from port \(port): its node "
          + "hangs, or a firewall drops what comes there",
        remedy: "there: v doctor shows whether its node runs; let \(port)/udp in in its firewall")
    case .unknown:
      return Trouble(
        host: name, cause: .unreachable,
        detail: "\(address) is silent, and there was no time left to look at it",
        remedy: "v status --timeout 60")
    case .silent(answersPing: false):
      return Trouble(
        host: name, cause: .unreachable,
        detail: "\(address) does not answer at all: it is off, its cable is out, or a firewall "
          + "drops everything",
        remedy: "ping \(address)")
    }
  }

  private mutating func compareClock(_ peer: NodeReport.Peer) {
    guard let ahead = peer.clockMilliseconds, abs(ahead) > Self.clockMillisecondsMax else { return }
    troubles.append(
      Trouble(
        host: peer.name, cause: .clock,
        detail: "its clock is \(Text.duration(abs(ahead))) \(ahead < 0 ? "behind" : "ahead of") "
          + "the clock of \(own)",
        remedy: "keep both in time by NTP (chrony, systemd-timesyncd); until then the times of "
          + "files mislead"))
  }

  /// Whether this host has no address of its node any more; then that is reported.
  private mutating func isAddressGone() -> Bool {
    let interfaces = prober.interfaces()
    let used = report.addresses
    guard !interfaces.contains(where: { used.contains($0.address) }) else { return false }
    let list = Self.list(interfaces)
    troubles.append(
      Trouble(
        host: own, cause: .interface,
        detail: (used.first.map { "no interface has the node's address \($0) any more" }
          ?? "no network is up")
          + (list.isEmpty ? "" : "; this host has \(list)"),
        remedy: "ip address; a node whose configuration has no listen uses whatever addresses "
          + "there are"))
    return true
  }

  /// Finds out what keeps this host from hearing others at all.
  private mutating func lookAtOwnNetwork(isAlone: Bool) {
    let used = report.addresses
    let interfaces = prober.interfaces()
    guard let interface = interfaces.first(where: { used.contains($0.address) }) else { return }
    // Packets that were sent a moment ago may still come.
    guard report.uptimeMilliseconds > Self.settledMilliseconds else { return }
    let isMulticasting = report.counter("multicastsSent") > 0
    let isNeeded = isAlone || report.configured.isEmpty
    if isMulticasting && isNeeded && report.counter("multicastsReturned") == 0 {
      troubles.append(
        Trouble(
          host: own, cause: .multicast,
          detail: "its multicasts do not come back from \(interface.name): a firewall or the "
            + "routes stop them",
          remedy: "let multicasts through, or name the others in peers of the configuration"))
    } else if !isAlone && report.configured.isEmpty && report.counter("multicastsHeard") == 0
      && report.uptimeMilliseconds > Self.multicastMilliseconds
    {
      troubles.append(
        Trouble(
          host: own, cause: .multicast,
          detail: "no multicast of another host arrives on \(interface.name)",
          remedy: "let multicasts through, or name the others in peers of the configuration"))
    }
    let list = Self.list(
      interfaces.filter { $0.name != interface.name && !used.contains($0.address) })
    guard isAlone, !list.isEmpty else { return }
    troubles.append(
      Trouble(
        host: own, cause: .interface,
        detail: "the node uses \(interface.name) (\(interface.address)) alone, and nobody is heard "
          + "there; this host has \(list) too",
        remedy: "if the other hosts are there, take listen out of the configuration"))
  }

  /// Each interface with one address that leads to others.
  private static func list(_ interfaces: [Prober.Interface]) -> String {
    var listed: Set<String> = []
    return interfaces.filter {
      !$0.isLoopback && IPAddress($0.address)?.isLinkLocal == false
        && listed.insert($0.name).inserted
    }.map { "\($0.name) (\($0.address))" }.joined(separator: ", ")
  }
}
