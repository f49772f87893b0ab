import ArgumentParser
import VAttach
import VProtocol
import VRuntime

/// `v ls`: the names in a context, by V's own naming.
struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ls",
    abstract: "Lists the names in a context, without a mount.",
    discussion: """
      Example: v ls storage/moa

      A name is one of V (storage/moa) or one below /v.
      """)

  @Flag(name: .shortAndLong, help: "Print the kind of each object in front of its name.")
  var long = false

  @OptionGroup var options: CommonOptions

  @Argument(help: ArgumentHelp("A name; the root if none is given.", valueName: "name"))
  var target = ""

  func run() throws {
    try options.answer(target.isEmpty ? "ls" : "ls \(target)") { names in
      let found = try names.find(target)
      var records = [found.descriptor]
      if found.descriptor.kind.isContext {
        records = try names.records(names.read(found, [.read, .directory]))
      } else {
        records[0].name = Array((found.path.split(separator: "/").last ?? "").utf8)
      }
      let rows = records.map {
        (name: String(decoding: $0.name, as: UTF8.self), kind: $0.kind.word)
      }.sorted { $0.name < $1.name }
      let entries = rows.map { row in
        JSON.object([("name", .string(row.name)), ("kind", .string(row.kind))])
      }
      return Reply(
        members: [("name", .string(found.path)), ("entries", .array(entries))],
        text: text(rows))
    }
  }

  private func text(_ rows: [(name: String, kind: String)]) -> String {
    let width = rows.map(\.kind.count).max() ?? 0
    return rows.map { row in
      long
        ? row.kind + String(repeating: " ", count: width - row.kind.count) + "  " + row.name
        : row.name
    }.joined(separator: "\n")
  }
}
