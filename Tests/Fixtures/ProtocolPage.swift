import Foundation

/// The pages of the protocol's documentation, as far as tests read them.
public struct ProtocolPage {
  /// A row of a table, without the spaces around its cells.
  public typealias Row = [String]

  /// What is between a heading of any depth and the next one.
  public struct Section: Sendable {
    public let page: String
    public let heading: String
    public let lines: [String]

    /// The prose, each run of white space one space.
    public var text: String {
      lines.filter { !$0.hasPrefix("|") }.joined(separator: " ").split(separator: " ")
        .joined(separator: " ")
    }

    /// The blocks between lines of three backquotes.
    public var blocks: [String] {
      lines.joined(separator: "\n").components(separatedBy: "```")
        .enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
    }

    /// The rows below a table's heading cells and its rule; nil where there is no such table.
    public func rows(under heading: Row) -> [Row]? {
      guard let start = lines.firstIndex(where: { cells($0) == heading }) else { return nil }
      return lines[start...].dropFirst(2).prefix { $0.hasPrefix("|") }.map(cells)
    }

    private func cells(_ line: String) -> Row {
      guard line.hasPrefix("|"), line.hasSuffix("|") else { return [] }
      return line.dropFirst().dropLast().split(separator: "|", omittingEmptySubsequences: false)
        .map { $0.trimmingCharacters(in: .whitespaces) }
    }
  }

  /// The sections of all pages.
  public static let sections: [Section] = load()

  /// Sections whose heading is a name, a comma and six hexadecimal digits.
  public static let operations: [(name: String, code: UInt32, section: Section)] =
    sections.compactMap { section in
      let parts = section.heading.components(separatedBy: ", ")
      guard parts.count == 2, parts[1].count == 6, let code = UInt32(parts[1], radix: 16) else {
        return nil
      }
      return (parts[0], code, section)
    }

  public static func section(_ heading: String) -> Section? {
    sections.first { $0.heading == heading }
  }

  /// The properties that a cell starts with: words in code with commas between them.
  public static func properties(_ cell: String) -> Set<String> {
    var properties: Set<String> = []
    var rest = Substring(cell)
    while rest.hasPrefix("`"), let end = rest.dropFirst().firstIndex(of: "`") {
      properties.insert(String(rest[rest.index(after: rest.startIndex)..<end]))
      rest = rest[rest.index(after: end)...]
      guard rest.hasPrefix(", `") else { break }
      rest = rest.dropFirst(2)
    }
    return properties
  }

  private static func load(file: String = #filePath) -> [Section] {
    let folder = URL(fileURLWithPath: file).deletingLastPathComponent()
      .appending(path: "../../Sources/Protocol/VProtocol/VProtocol.docc")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    var sections: [Section] = []
    for name in names.sorted() where name.hasSuffix(".md") {
      let text = (try? String(contentsOf: folder.appending(path: name), encoding: .utf8)) ?? ""
      var heading = ""
      var lines: [String] = []
      for line in text.components(separatedBy: "\n") + ["# "] {
        if line.hasPrefix("#"), let space = line.firstIndex(of: " ") {
          sections.append(Section(page: name, heading: heading, lines: lines))
          heading = String(line[line.index(after: space)...])
          lines = []
        } else {
          lines.append(line)
        }
      }
    }
    precondition(!sections.isEmpty, "the pages were not found")
    return sections
  }
}
