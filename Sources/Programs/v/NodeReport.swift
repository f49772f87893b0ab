/// What a node says of itself, read from its lines.
struct NodeReport {
  struct Peer {
    var kernel: String
    var host: String?
    var locator: String?
    var heardMilliseconds: Int?
    var roundTripMicroseconds: Int?
    var isSilent: Bool
    /// How far its clock is ahead of this host's.
    var clockMilliseconds: Int?

    var name: String { host ?? locator ?? kernel }
  }

  /// Packets from one place that were not V.
  struct Rejected {
    var source: String
    var count: Int
    var lastMilliseconds: Int
    var reason: String
  }

  private(set) var values: [String: String] = [:]
  private(set) var counters: [(name: String, count: Int)] = []
  private(set) var rejected: [Rejected] = []
  private(set) var peers: [Peer] = []
  /// Addresses that the node's configuration names as peers.
  private(set) var configured: [String] = []
  private(set) var closed: [(name: String, count: Int)] = []

  init(_ text: String) {
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ").map(String.init)
      switch (words.first, words.count) {
      case ("counter", 3): counters.append((words[1], Int(words[2]) ?? 0))
      case ("closed", 3): closed.append((words[1], Int(words[2]) ?? 0))
      case ("configured", 2): configured.append(words[1])
      case ("rejected", 5...):
        rejected.append(
          Rejected(
            source: words[1], count: Int(words[2]) ?? 0, lastMilliseconds: Int(words[3]) ?? 0,
            reason: words[4...].joined(separator: " ")))
      case ("peer", 7...):
        peers.append(
          Peer(
            kernel: words[1], host: words[2] == "-" ? nil : words[2],
            locator: words[3] == "-" ? nil : words[3], heardMilliseconds: Int(words[4]),
            roundTripMicroseconds: Int(words[5]), isSilent: words[6] == "silent",
            clockMilliseconds: words.count > 7 ? Int(words[7]) : nil))
      case (let key?, 2): values[key] = words[1] == "-" ? nil : words[1]
      default: break
      }
    }
  }

  /// Of silent hosts only these are of interest, and those without a name.
  mutating func leaveOutSilent(besides hosts: Set<String>) {
    peers.removeAll { peer in peer.isSilent && peer.host.map { !hosts.contains($0) } ?? false }
  }

  var isSealed: Bool { values["sealing"] == "sealed" }
  var uptimeMilliseconds: Int { values["uptime_ms"].flatMap { Int($0) } ?? 0 }
  var cpuMicroseconds: Int? { values["cpu_us"].flatMap { Int($0) } }

  func counter(_ name: String) -> Int { counters.first { $0.name == name }?.count ?? 0 }
}

extension NodeReport {
  /// Other hosts that are there.
  var presentHosts: [String] {
    let own = values["host"]
    return Array(Set(peers.filter { !$0.isSilent }.compactMap(\.host).filter { $0 != own }))
      .sorted()
  }

  func json(_ troubles: [Trouble], _ looks: [String: HostLook]) -> JSON {
    let hosts = looks.sorted { $0.key < $1.key }.map { host, look in
      JSON.object([("host", .string(host))] + look.json)
    }
    return .object([
      ("schema", .integer(1)),
      ("host", Self.string(values["host"])),
      ("kernel", Self.string(values["kernel"])),
      ("address", Self.string(values["address"])),
      ("sealing", Self.string(values["sealing"])),
      ("name_holder", Self.string(values["name_holder"])),
      ("uptime_ms", Self.integer(values["uptime_ms"].flatMap { Int($0) })),
      ("cpu_us", Self.integer(cpuMicroseconds)),
      ("attached", Self.integer(values["attached"].flatMap { Int($0) })),
      ("counters", Self.object(counters)),
      ("rejected", .array(rejected.map(Self.json))),
      ("closed", Self.object(closed)),
      ("peers", .array(peers.map(Self.json))),
      ("peers_left_out", Self.integer(Int(values["peers_left_out"] ?? "0"))),
      ("hosts", .array(hosts)),
      ("troubles", .array(troubles.map(\.json))),
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
      ("clock_ahead_ms", integer(peer.clockMilliseconds)),
    ])
  }

  private static func json(_ rejected: Rejected) -> JSON {
    .object([
      ("source", .string(rejected.source)),
      ("reason", .string(rejected.reason)),
      ("count", .integer(rejected.count)),
      ("last_ms", .integer(rejected.lastMilliseconds)),
    ])
  }

  private static func string(_ text: String?) -> JSON { text.map { .string($0) } ?? .null }
  private static func integer(_ value: Int?) -> JSON { value.map { .integer($0) } ?? .null }
  private static func object(_ list: [(name: String, count: Int)]) -> JSON {
    .object(list.map { ($0.name, .integer($0.count)) })
  }
}

/// Forms of text that several commands print.
enum Text {
  /// Without commands to a terminal: names and words are others', and can hold anything.
  static func harmless(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { scalar in
          switch scalar.value {
          case 0x09, 0x0A, 0x0D: scalar
          case 0..<0x20, 0x7F..<0xA0: "?"
          default: scalar
          }
        }))
  }

  /// Columns as wide as their widest entry; the first row is the heading.
  static func table(_ rows: [[String]]) -> [String] {
    let rows = rows.map { $0.map(harmless) }
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

  /// Octets as people count disks: three digits, in powers of 1000.
  static func bytes(_ count: UInt64) -> String {
    var value = Double(count)
    for unit in ["B", "kB", "MB", "GB"] {
      if value < 999.5 { return "\(decimal(value, value < 9.95 && unit != "B" ? 1 : 0)) \(unit)" }
      value /= 1000
    }
    return "\(decimal(value, value < 9.95 ? 1 : 0)) TB"
  }

  static func duration(_ milliseconds: Int) -> String {
    switch milliseconds {
    case ..<1000: "\(milliseconds) ms"
    case ..<60_000: "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
    case ..<3_600_000: "\(milliseconds / 60_000) min"
    case ..<172_800_000: "\(milliseconds / 3_600_000) h"
    default: "\(milliseconds / 86_400_000) days"
    }
  }

  /// A number with so many decimals.
  static func decimal(_ value: Double, _ places: Int) -> String {
    guard value.isFinite else { return "-" }
    var factor = 1.0
    for _ in 0..<places { factor *= 10 }
    let scaled = Int((abs(value) * factor).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    let rest = "\(scaled % Int(factor))"
    return "\(sign)\(scaled / Int(factor))."
      + String(repeating: "0", count: places - rest.count) + rest
  }
}
