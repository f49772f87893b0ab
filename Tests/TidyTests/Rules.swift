/// One place where the tree breaks a rule.
struct Finding: Equatable, CustomStringConvertible {
  var path: String
  var line: Int
  var rule: String
  var description: String { "\(path):\(line): \(rule)" }
}

/// The rules, as functions from a file to findings, so that tests can show each to fail.
enum Rule {
  static let fileLinesMax = 500
  static let functionLinesMax = 70
  static let columnsMax = 100
  static let kernelLinesMax = 7_100
  static let roomLinesMax = 3_000

  /// The rooms that every message runs through; their size is what a reader must keep in mind.
  static let kernel: Set = ["VTransport", "VKernel", "VRuntime", "VLoop", "VNode"]

  /// Rooms that are rows of separate commands or operations without state may be larger.
  static let largeRooms: Set = ["v", "VProtocol"]

  /// The limit of lines of a room; nil if there is none.
  static func linesMax(ofRoom room: String) -> Int? {
    if largeRooms.contains(room) { return nil }
    return roomLinesMax
  }

  static let withoutConcurrency: Set = ["VProtocol", "VTransport", "VSealing", "VKernel"]

  static let topLevel: Set = [
    "Package.swift", "Sources", "Tests", "mount", "config", "README.md", "LICENSE", ".ci",
    ".gitignore", ".git",
  ]

  static let vagueFolders: Set = ["Utils", "Helpers", "Common", "Extensions", "Models"]

  static func fileLength(_ path: String, _ text: String) -> [Finding] {
    let count = lines(text).count
    guard count > fileLinesMax else { return [] }
    return [
      Finding(path: path, line: count, rule: "a file has at most \(fileLinesMax) lines")
    ]
  }

  static func functionLength(_ path: String, _ text: String) -> [Finding] {
    SwiftSource(text).functions.filter { $0.lineCount > functionLinesMax }.map {
      Finding(
        path: path,
        line: $0.firstLine,
        rule: "\($0.name) has \($0.lineCount) lines; a function has at most \(functionLinesMax)"
      )
    }
  }

  static func columns(_ path: String, _ text: String) -> [Finding] {
    findings(path, text, rule: "a line has at most \(columnsMax) columns") {
      $0.count > columnsMax
    }
  }

  static func ascii(_ path: String, _ text: String) -> [Finding] {
    findings(path, text, rule: "files are ASCII") { $0.utf8.contains { $0 >= 0x80 } }
  }

  /// Notes and machines of V's authors stay out of it.
  static func privatePaths(_ path: String, _ text: String) -> [Finding] {
    // Joined here, so that this file obeys the rule.
    let forbidden = ["/" + "work/", ".." + "/shared"]
    return findings(path, text, rule: "no path of a developer's machine") { line in
      forbidden.contains { line.contains($0) }
    }
  }

  static func noConcurrency(_ path: String, _ text: String) -> [Finding] {
    codeFindings(path, text, rule: "the protocol and the kernel neither suspend nor wait") {
      !words($0).isDisjoint(with: ["async", "await"])
    }
  }

  /// Code that escapes the compiler's checks, or the executor that was passed in, needs a reason.
  static func explained(_ path: String, _ text: String) -> [Finding] {
    let risky = ["Task.detached", "DispatchQueue", "nonisolated(unsafe)", "@unchecked Sendable"]
    let source = SwiftSource(text)
    return source.code.indices.flatMap { index -> [Finding] in
      let isExplained =
        source.isCommented[index] || (index > 0 && source.isCommented[index - 1])
      return risky.filter { !isExplained && source.code[index].contains($0) }.map {
        Finding(path: path, line: index + 1, rule: "\($0) needs a comment that says why")
      }
    }
  }

  /// A server says with each Send who waits for whom; the rest is checked when it runs.
  static func sendOrder(_ path: String, _ text: String) -> [Finding] {
    let code = SwiftSource(text).code
    let calls = [("backplane.send(", "PartySend("), ("ClientPool(", "of: .")]
    return code.indices.flatMap { index in
      calls.compactMap { call, order in
        guard let start = code[index].firstRange(of: call) else { return nil }
        let rest = code[index][start.upperBound...] + code[(index + 1)...].joined(separator: " ")
        var depth = 1
        let arguments = rest.prefix { character in
          if character == "(" { depth += 1 }
          if character == ")" { depth -= 1 }
          return depth > 0
        }
        guard !arguments.contains(order) else { return nil }
        return Finding(path: path, line: index + 1, rule: "\(call)...) must say \(order)...)")
      }
    }
  }

  // MARK: Shared by the rules

  static func lines(_ text: String) -> [Substring] {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    if lines.last == "" { lines.removeLast() }
    return lines
  }

  static func words(_ code: String) -> Set<String> {
    Set(code.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init))
  }

  private static func findings(
    _ path: String,
    _ text: String,
    rule: String,
    where isBroken: (Substring) -> Bool
  ) -> [Finding] {
    lines(text).enumerated().filter { isBroken($0.element) }.map {
      Finding(path: path, line: $0.offset + 1, rule: rule)
    }
  }

  private static func codeFindings(
    _ path: String,
    _ text: String,
    rule: String,
    where isBroken: (String) -> Bool
  ) -> [Finding] {
    SwiftSource(text).code.enumerated().filter { isBroken($0.element) }.map {
      Finding(path: path, line: $0.offset + 1, rule: rule)
    }
  }
}
