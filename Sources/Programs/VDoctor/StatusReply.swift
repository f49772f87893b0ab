import VCommand

/// What `v status --json` prints.
struct StatusReply: Encodable {
  private let report: NodeReport
  private let troubles: [Trouble]
  private let looks: [String: HostLook]

  init(_ report: NodeReport, _ troubles: [Trouble], _ looks: [String: HostLook]) {
    self.report = report
    self.troubles = troubles
    self.looks = looks
  }

  private enum CodingKeys: String, CodingKey {
    case host, kernel, address, sealing, attached, counters, rejected, closed, peers, hosts
    case troubles
    case nameHolder = "name_holder"
    case uptime = "uptime_ms"
    case processorTime = "cpu_us"
    case peersLeftOut = "peers_left_out"
  }

  func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    let values = report.values
    try members.encodeIfPresent(values["host"], forKey: .host)
    try members.encodeIfPresent(values["kernel"], forKey: .kernel)
    try members.encodeIfPresent(values["address"], forKey: .address)
    try members.encodeIfPresent(values["sealing"], forKey: .sealing)
    try members.encodeIfPresent(values["name_holder"], forKey: .nameHolder)
    try members.encodeIfPresent(Self.number(values["uptime_ms"]), forKey: .uptime)
    try members.encodeIfPresent(report.cpuMicroseconds, forKey: .processorTime)
    try members.encodeIfPresent(Self.number(values["attached"]), forKey: .attached)
    try members.encode(Self.counts(report.counters), forKey: .counters)
    try members.encode(report.rejected, forKey: .rejected)
    try members.encode(Self.counts(report.closed), forKey: .closed)
    try members.encode(report.peers, forKey: .peers)
    try members.encode(Self.number(values["peers_left_out"]) ?? 0, forKey: .peersLeftOut)
    let hosts = looks.sorted { $0.key < $1.key }.map { LookedAt(host: $0.key, look: $0.value) }
    try members.encode(hosts, forKey: .hosts)
    try members.encode(troubles, forKey: .troubles)
  }

  private static func number(_ text: String?) -> Int? { text.flatMap { Int($0) } }

  private static func counts(_ list: [(name: String, count: Int)]) -> ReplyMembers {
    ReplyMembers(list.map { ($0.name, $0.count) })
  }

  private struct LookedAt: Encodable {
    var host: String
    var look: HostLook

    private enum CodingKeys: String, CodingKey {
      case host, load, programs
      case diskFree = "disk_free_bytes"
      case disk = "disk_bytes"
    }

    func encode(to encoder: any Encoder) throws {
      var members = encoder.container(keyedBy: CodingKeys.self)
      try members.encode(host, forKey: .host)
      try members.encodeIfPresent(look.load.flatMap { Double($0) }, forKey: .load)
      try members.encodeIfPresent(look.programs, forKey: .programs)
      try members.encodeIfPresent(look.diskBytes?.free, forKey: .diskFree)
      try members.encodeIfPresent(look.diskBytes?.all, forKey: .disk)
    }
  }
}
