import ArgumentParser
import VAttach
import VCommand
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
        records = try names.records(of: found)
      } else {
        records[0].name = Array((found.path.split(separator: "/").last ?? "").utf8)
      }
      let entries = records.map {
        Entry(name: String(decoding: $0.name, as: UTF8.self), kind: $0.kind.word)
      }.sorted { $0.name < $1.name }
      return Reply(Listed(name: found.path, entries: entries), text: text(entries))
    }
  }

  private struct Listed: Encodable {
    var name: String
    var entries: [Entry]
  }

  private struct Entry: Encodable {
    var name: String
    var kind: String
  }

  private func text(_ rows: [Entry]) -> String {
    let width = rows.map(\.kind.count).max() ?? 0
    return rows.map { row in
      long
        ? row.kind + String(repeating: " ", count: width - row.kind.count) + "  " + row.name
        : row.name
    }.joined(separator: "\n")
  }
}
