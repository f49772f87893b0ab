package import VAttach
package import VProtocol
import VRuntime

/// What a node says of itself, read from its lines.
package struct NodeReport {
  package struct Peer: Encodable {
    package var kernel: String
    package var host: String?
    package var locator: String?
    package var heardMilliseconds: Int?
    package var roundTripMicroseconds: Int?
    package var isSilent: Bool
    /// It is heard, but does not answer: what is sent to it is lost on the way.
    package var isDeaf: Bool
    /// How far its clock is ahead of this host's.
    package var clockMilliseconds: Int?

    package var name: String { host ?? locator ?? kernel }

    private enum CodingKeys: String, CodingKey {
      case kernel, host, locator
      case heardMilliseconds = "heard_ms"
      case roundTripMicroseconds = "rtt_us"
      case isSilent = "is_silent"
      case isDeaf = "is_deaf"
      case clockMilliseconds = "clock_ahead_ms"
    }
  }

  /// Packets from one place that were not V.
  package struct Rejected: Encodable {
    package var source: String
    package var reason: String
    package var count: Int
    package var lastMilliseconds: Int

    private enum CodingKeys: String, CodingKey {
      case source, reason, count
      case lastMilliseconds = "last_ms"
    }
  }

  package private(set) var values: [String: String] = [:]
  package private(set) var counters: [(name: String, count: Int)] = []
  package private(set) var rejected: [Rejected] = []
  package private(set) var peers: [Peer] = []
  /// Addresses that the node's configuration names as peers.
  package private(set) var configured: [String] = []
  /// The node's further addresses, beside `address`.
  package private(set) var also: [String] = []
  package private(set) var closed: [(name: String, count: Int)] = []

  package init(_ text: String) {
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      switch (words.first, words.count) {
      case ("counter", 3): counters.append((words[1], Int(words[2]) ?? 0))
      case ("closed", 3): closed.append((words[1], Int(words[2]) ?? 0))
      case ("also", 2): also.append(words[1])
      case ("configured", 2): configured.append(words[1])
      case ("rejected", 5...):
        rejected.append(
          Rejected(
            source: words[1], reason: words[4...].joined(separator: " "),
            count: Int(words[2]) ?? 0, lastMilliseconds: Int(words[3]) ?? 0))
      case ("peer", 7...):
        peers.append(
          Peer(
            kernel: words[1], host: words[2] == "-" ? nil : words[2],
            locator: words[3] == "-" ? nil : words[3], heardMilliseconds: Int(words[4]),
            roundTripMicroseconds: Int(words[5]), isSilent: words[6] != "alive",
            isDeaf: words[6] == "deaf",
            clockMilliseconds: words.count > 7 ? Int(words[7]) : nil))
      case (let key?, 2): values[key] = words[1] == "-" ? nil : words[1]
      default: break
      }
    }
  }

  /// Of silent hosts only these are of interest, and those without a name.
  package mutating func leaveOutSilent(besides hosts: Set<String>) {
    peers.removeAll { peer in peer.isSilent && peer.host.map { !hosts.contains($0) } ?? false }
  }

  package var isSealed: Bool { values["sealing"] == "sealed" }
  package var uptimeMilliseconds: Int { values["uptime_ms"].flatMap { Int($0) } ?? 0 }
  package var cpuMicroseconds: Int? { values["cpu_us"].flatMap { Int($0) } }

  /// All addresses of the node, without ports.
  package var addresses: [String] {
    ([values["address"]].compactMap(\.self) + also).map { String(Self.address(of: $0)) }
  }

  /// `ADDRESS:PORT` or `[ADDRESS]:PORT` without the port.
  package static func address(of locator: String) -> Substring {
    locator.first == "["
      ? locator.dropFirst().prefix { $0 != "]" } : locator.prefix { $0 != ":" }
  }

  package func counter(_ name: String) -> Int { counters.first { $0.name == name }?.count ?? 0 }
}

extension NodeReport {
  /// Other hosts that are there.
  package var presentHosts: [String] {
    let own = values["host"]
    return Array(Set(peers.filter { !$0.isSilent }.compactMap(\.host).filter { $0 != own }))
      .sorted()
  }
}

extension CommonOptions {
  /// Asks this host's node how it is, or the node of `kernel`.
  package func report(
    of node: AttachedBackplane, kernel: KernelID? = nil, _ verb: String
  ) throws -> NodeReport {
    let client = node.makeClient(user: node.user)
    defer { node.retire(client) }
    let answer = node.sendAndWait(
      QueryNode(), from: client, to: .nodeServer(of: kernel ?? node.kernel),
      options: SendOptions(timeLimit: .milliseconds(timeoutMilliseconds)))
    switch answer {
    case .done(let found, _): return NodeReport(found.text)
    case .refused(.userTimeout):
      throw Failure(
        status: .timeLimit,
        description: "\(verb): \(node.host): the node did not answer within \(timeout) s")
    case .refused(let refusal):
      guard node.isAttached else { throw Failure.nodeLost }
      throw Failure(status: .refused, description: "\(verb): \(node.host): \(refusal)")
    }
  }
}
