/// The lines of a program's `status`: a word, a blank, a value.
public struct ProgramStatus: Equatable, Sendable {
  private var values: [String: String] = [:]

  /// If a word comes twice, the first one counts.
  public init(_ text: String) {
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 1)
      if parts.count == 2, values[String(parts[0])] == nil {
        values[String(parts[0])] = String(parts[1])
      }
    }
  }

  public subscript(word: String) -> String? { values[word] }

  /// A notice for people if the program runs in another directory than wanted; else nil.
  public func notice(host: String) -> String? {
    guard let asked = values["asked"], let directory = values["directory"] else { return nil }
    return "\(host) has no \(asked); running in \(directory)"
  }
}
