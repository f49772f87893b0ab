import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v trace`: the last message transactions of a node.
struct Trace: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the last message transactions of a node, while it records them.",
    discussion: """
      Example: v trace --on; ls /v/storage/moa; v trace; v trace --off

      A node keeps nothing until root of its host says so; then its last 4,096 transactions: those \
      of its own processes, and those that it serves for others. With -f each is shown when it has \
      ended, until ^C; those of this command are left out.
      """)

  @Flag(help: "Drop the recorded ones and record from now on.")
  var on = false

  @Flag(help: "Stop recording; the recorded ones can still be shown.")
  var off = false

  @Flag(name: .shortAndLong, help: "Go on with transactions that end from now on.")
  var follow = false

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("A host; this one if none is named.", valueName: "host"), completion: .host)
  var host = "self"

  func validate() throws {
    guard !(on && off) else { throw ValidationError("--on and --off exclude each other.") }
    guard !(follow && (on || off || options.json)) else {
      throw ValidationError("--follow is for people, and by itself.")
    }
    try validateHost(host)
  }

  func run() throws {
    if follow { return try followTrace() }
    try options.answer("trace \(host)") { names in
      let name = host == "self" ? names.node.host : host
      if on || off {
        try names.write(on ? "on" : "off", to: path)
        return Reply(TraceSwitch(host: name, keeps: on))
      }
      let rows = try rows(names)
      let managers = ManagerNames(names)
      return Reply(
        TraceReply(host: name, transactions: rows.map { transaction($0, managers) }),
        text: text(rows, managers))
    }
  }

  private var path: String { "host/\(host)/net/trace" }

  /// The lines of the node without those of this command itself.
  private func rows(_ names: Names) throws -> [[String]] {
    let lines = try names.lines(of: path)
    let own = "\(names.session.entity)"
    return lines.map { $0.split(separator: " ").map(String.init) }
      .filter { $0.count == 6 && $0[1] != own }
  }

  /// Shows each transaction once, when it ends.
  private func followTrace() throws {
    let node = try options.attach()
    defer { node.close() }
    let session = Session(node)
    let managers = ManagerNames(Names(session, options, for: "trace \(host)"))
    var shown: Set<[String]>?
    while true {
      let names = Names(session, options, for: "trace \(host)")
      let ended = try rows(names).filter { $0[4] != "-" }
      let keys = Set(ended.map { Array($0[...1]) })
      for row in ended where shown.map({ !$0.contains(Array(row[...1])) }) ?? false {
        say(cells(row, managers).joined(separator: "  "))
      }
      shown = keys
      usleep(Self.lookMicroseconds)
    }
  }

  private static let lookMicroseconds: UInt32 = 100_000
  /// Practically without an end.
  private static let followedFor = TimeSpan.seconds(365 * 86_400)

  /// The words of a code: of an operation its name, if it is known here.
  private func name(_ code: String) -> String {
    UInt32(code, radix: 16).flatMap { OperationTable.entry($0)?.name } ?? code
  }

  private func cells(_ row: [String], _ managers: ManagerNames) -> [String] {
    let reply = UInt32(row[4]).map { "\(ReplyCode(rawValue: $0))" } ?? "under way"
    return [row[0], row[1], managers.name(of: row[2]), name(row[3]), row[5], reply]
  }

  private func text(_ rows: [[String]], _ managers: ManagerNames) -> String {
    Text.table(
      [["SECONDS", "CLIENT", "SERVER", "OPERATION", "MICROSECONDS", "OUTCOME"]]
        + rows.map { cells($0, managers) }
    ).joined(separator: "\n")
  }

  private func transaction(
    _ row: [String], _ managers: ManagerNames
  ) -> TraceReply.Transaction {
    TraceReply.Transaction(
      seconds: Double(row[0]) ?? 0, client: row[1], server: row[2],
      serverName: managers.name(of: row[2]), code: row[3], operation: name(row[3]),
      reply: Int(row[4]), microseconds: Int(row[5]))
  }
}

private struct TraceSwitch: Encodable {
  var host: String
  var keeps: Bool
}

private struct TraceReply: Encodable {
  struct Transaction: Encodable {
    var seconds: Double
    var client: String
    var server: String
    var serverName: String
    var code: String
    var operation: String
    var reply: Int?
    var microseconds: Int?

    private enum CodingKeys: String, CodingKey {
      case seconds, client, server
      case serverName = "server_name"
      case code, operation, reply
      case microseconds = "us"
    }
  }

  var host: String
  var transactions: [Transaction]
}

/// What people call the servers of the cluster: by the prefixes that they have, as the directory of
/// this host knows them, and those that every node has by the node's host.
struct ManagerNames {
  private var prefixes: [String: String] = [:]
  private var hosts: [KernelID: String] = [:]

  init(_ names: Names) {
    // All prefixes but those of exports have one or two components.
    for front in (try? names.list("")) ?? [] {
      note(front, names)
      for name in (try? names.list(front)) ?? [] where name != "self" && name != "any" {
        note("\(front)/\(name)", names)
      }
    }
  }

  private mutating func note(_ path: String, _ names: Names) {
    let query = QueryName(ContextName(NameSpace(of: names.node.kernel).root, Array(path.utf8)))
    guard let answer = try? names.send(query, to: names.session.directory),
      answer.kind == .context,
      answer.prefixBytes == path.utf8.count
    else { return }
    prefixes["\(answer.manager)"] = path
    if path.hasPrefix("host/") { hosts[answer.manager.kernel] = String(path.dropFirst(5)) }
  }

  /// An entity in its text form, if it has no other name.
  func name(of text: String) -> String {
    if let prefix = prefixes[text] { return prefix }
    for (kernel, host) in hosts {
      let ofNode: [(EntityID, String)] = [
        (.manager(of: kernel), "kernel"), (.nodeServer(of: kernel), "node"),
        (NameSpace(of: kernel).directory, "directory"),
      ]
      if let (_, what) = ofNode.first(where: { "\($0.0)" == text }) { return "\(what) of \(host)" }
    }
    return text
  }
}
