import ArgumentParser
import Glibc
import VAttach
import VProtocol
import VRuntime

/// `v status`: this host's node and what it knows of the others.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows this host's node and the nodes it has heard of.",
    discussion: """
      Example: v status --json

      A node is silent when nothing has come from it for 2 seconds and it does not answer now.
      """)

  @OptionGroup var options: CommonOptions

  func run() throws {
    let node = try options.attach()
    defer { node.close() }
    let client = node.makeClient(user: node.user)
    let limit = TimeSpan.milliseconds(options.timeoutMilliseconds)
    let answer = node.sendAndWait(
      QueryNode(), from: client, to: .nodeServer(of: node.kernel),
      options: SendOptions(timeLimit: limit))
    switch answer {
    case .done(let found, _):
      let report = NodeReport(found.text)
      say(options.json ? report.json.text : report.text)
    case .refused(.userTimeout):
      throw Failure(
        status: .timeLimit,
        description: "status: this host's node did not answer within \(options.timeout) s")
    case .refused(let code):
      guard node.isAttached else { throw Failure.nodeLost }
      throw Failure(status: .refused, description: "status: \(node.host): \(code)")
    }
  }
}

extension Failure {
  static var nodeLost: Failure {
    Failure(status: .noNode, description: "this host's node ended")
  }
}

/// What a node says of itself, read from its lines.
struct NodeReport {
  struct Peer {
    var kernel: String
    var host: String?
    var locator: String?
    var heardMilliseconds: Int?
    var roundTripMicroseconds: Int?
    var isSilent: Bool
  }

  private var values: [String: String] = [:]
  private var counters: [(name: String, count: Int)] = []
  private var dropped: [(name: String, count: Int)] = []
  private var closed: [(name: String, count: Int)] = []
  private var peers: [Peer] = []

  init(_ text: String) {
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      switch (words.first, words.count) {
      case ("counter", 3): counters.append((words[1], Int(words[2]) ?? 0))
      case ("closed", 3): closed.append((words[1], Int(words[2]) ?? 0))
      case ("dropped", 3...):
        dropped.append((words[2...].joined(separator: " "), Int(words[1]) ?? 0))
      case ("peer", 7...):
        peers.append(
          Peer(
            kernel: words[1], host: words[2] == "-" ? nil : words[2],
            locator: words[3] == "-" ? nil : words[3], heardMilliseconds: Int(words[4]),
            roundTripMicroseconds: Int(words[5]), isSilent: words[6] == "silent"))
      case (let key?, 2): values[key] = words[1]
      default: break
      }
    }
  }

  var json: JSON {
    .object([
      ("schema", .integer(1)),
      ("host", Self.string(values["host"])),
      ("kernel", Self.string(values["kernel"])),
      ("address", Self.string(values["address"])),
      ("sealing", Self.string(values["sealing"])),
      ("uptime_ms", Self.integer(values["uptime_ms"].flatMap { Int($0) })),
      ("attached", Self.integer(values["attached"].flatMap { Int($0) })),
      ("counters", Self.object(counters)),
      ("dropped", Self.object(dropped)),
      ("closed", Self.object(closed)),
      ("peers", .array(peers.map(Self.json))),
      ("peers_left_out", Self.integer(Int(values["peers_left_out"] ?? "0"))),
    ])
  }

  private static func json(_ peer: Peer) -> JSON {
    .object([
      ("kernel", .string(peer.kernel)),
      ("host", string(peer.host)),
      ("locator", string(peer.locator)),
      ("heard_ms", integer(peer.heardMilliseconds)),
      ("rtt_us", integer(peer.roundTripMicroseconds)),
      ("is_silent", .bool(peer.isSilent)),
    ])
  }

  private static func string(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
  private static func integer(_ value: Int?) -> JSON { value.map { .integer($0) } ?? .null }
  private static func object(_ list: [(name: String, count: Int)]) -> JSON {
    .object(list.map { ($0.name, .integer($0.count)) })
  }

  /// For people: the node, its peers as a table, then what was counted and is not zero.
  var text: String {
    let sealing = values["sealing"] == "sealed" ? "sealed" : "no key: clear packets"
    let uptime = values["uptime_ms"].flatMap { Int($0) } ?? 0
    var lines = [
      "\(values["host"] ?? "-")  \(values["address"] ?? "-")  kernel \(values["kernel"] ?? "-")  "
        + "\(sealing)  up \(Self.duration(uptime))  "
        + "\(values["attached"] ?? "0") attached"
    ]
    if peers.isEmpty { lines.append("no other node was heard") } else { lines.append("") }
    if !peers.isEmpty {
      lines += Self.table(
        [["HOST", "ADDRESS", "KERNEL", "HEARD", "RTT", "STATE"]]
          + peers.map { peer in
            [
              peer.host ?? "-", peer.locator ?? "-", peer.kernel,
              peer.heardMilliseconds.map { Self.duration($0) + " ago" } ?? "-",
              peer.roundTripMicroseconds.map { "\($0) us" } ?? "-",
              peer.isSilent ? "silent" : "alive",
            ]
          })
    }
    if let count = values["peers_left_out"] { lines.append("and \(count) more") }
    let counts = counters.filter { $0.count > 0 }.map { "\($0.name) \($0.count)" }
    if !counts.isEmpty { lines += ["", counts.joined(separator: "  ")] }
    lines += dropped.map { "dropped \($0.count): \($0.name)" }
    lines += closed.filter { $0.name != "ended" }.map { "closed \($0.count): \($0.name)" }
    return lines.joined(separator: "\n")
  }

  private static func table(_ rows: [[String]]) -> [String] {
    let columns = rows[0].indices
    let widths = columns.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      columns.map { column in
        let isLast = column == columns.last
        let pad = isLast ? 0 : widths[column] - row[column].count
        return row[column] + String(repeating: " ", count: pad)
      }.joined(separator: "  ")
    }
  }

  private static func duration(_ milliseconds: Int) -> String {
    switch milliseconds {
    case ..<1000: "\(milliseconds) ms"
    case ..<60_000: "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
    case ..<3_600_000: "\(milliseconds / 60_000) min"
    case ..<172_800_000: "\(milliseconds / 3_600_000) h"
    default: "\(milliseconds / 86_400_000) days"
    }
  }
}
