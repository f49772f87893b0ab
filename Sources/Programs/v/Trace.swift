import ArgumentParser
import VAttach
import VProtocol
import VRuntime

/// `v trace`: the last message transactions of a node.
struct Trace: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the last message transactions of a node, while it keeps them.",
    discussion: """
      Example: v trace --on; ls /v/storage/moa; v trace; v trace --off

      A node keeps nothing until root of its host says so; then its last 4,096 transactions: those \
      of its own processes, and those that it serves for others.
      """)

  @Flag(help: "Forget what was kept and keep from now on.")
  var on = false

  @Flag(help: "Keep no more; what was kept can still be shown.")
  var off = false

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("A host; this one if none is named.", valueName: "host"), completion: .host)
  var host = "self"

  func validate() throws {
    guard !(on && off) else { throw ValidationError("--on and --off exclude each other.") }
    guard !host.isEmpty, !host.contains("/") else {
      throw ValidationError("'\(host)' is not the name of a host.")
    }
  }

  func run() throws {
    try options.answer("trace \(host)") { names in
      let path = "host/\(host)/net/trace"
      let name = ("host", JSON.string(host == "self" ? names.node.host : host))
      if on || off {
        try names.write(on ? "on" : "off", to: path)
        return Reply(members: [name, ("keeps", .bool(on))], text: "")
      }
      let rows = try names.lines(of: path).map { $0.split(separator: " ").map(String.init) }
        .filter { $0.count == 6 }
      return Reply(members: [name, ("transactions", json(rows))], text: text(rows))
    }
  }

  /// What a code says in words: of an operation its name where it is known here.
  private func name(_ code: String) -> String {
    UInt32(code, radix: 16).flatMap { OperationTable.entry($0)?.name } ?? code
  }

  private func text(_ rows: [[String]]) -> String {
    let table =
      [["SECONDS", "CLIENT", "SERVER", "OPERATION", "MICROSECONDS", "OUTCOME"]]
      + rows.map { row in
        let reply = UInt32(row[4]).map { "\(ReplyCode(rawValue: $0))" } ?? "under way"
        return [row[0], row[1], row[2], name(row[3]), row[5], reply]
      }
    let widths = table[0].indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    return table.map { row in
      row.enumerated().map { column, cell in
        column == 5 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }

  private func json(_ rows: [[String]]) -> JSON {
    .array(
      rows.map { row in
        .object([
          ("seconds", .number(row[0])), ("client", .string(row[1])), ("server", .string(row[2])),
          ("code", .string(row[3])), ("operation", .string(name(row[3]))),
          ("reply", UInt32(row[4]).map { .integer(Int($0)) } ?? .null),
          ("us", Int(row[5]).map { .integer($0) } ?? .null),
        ])
      })
  }
}
