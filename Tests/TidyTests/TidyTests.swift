import Testing

/// The rules of the source tree that neither the compiler nor the formatter checks.
@Suite("Source tree")
struct TidyTests {
  let tree = Tree()

  @Test("every target imports only what its row of the table allows")
  func imports() throws {
    let rooms = try tree.names(in: "Sources").flatMap { try tree.names(in: "Sources/\($0)") }
    let table = ImportTable(targets: Set(rooms))
    try expectNone(where: isSource) { path, text in
      table.findings(path, text, target: target(of: path))
    }
  }

  @Test("no Swift file is longer than 500 lines")
  func fileLength() throws {
    try expectNone(where: isSwift, Rule.fileLength)
  }

  @Test("no function is longer than 70 lines")
  func functionLength() throws {
    try expectNone(where: isSwift, Rule.functionLength)
  }

  @Test("no line of Swift is wider than 100 columns")
  func columns() throws {
    try expectNone(where: isSwift, Rule.columns)
  }

  @Test("all text is ASCII")
  func ascii() throws {
    try expectNone(where: { _ in true }, Rule.ascii)
  }

  @Test("no file names a path of a developer's machine")
  func privatePaths() throws {
    try expectNone(where: { _ in true }, Rule.privatePaths)
  }

  @Test("the top level has only the expected files and folders")
  func topLevel() throws {
    for name in try tree.names(in: "")
    where !Rule.topLevel.contains(name) && !Tree.isIgnored(name) {
      Issue.record("\(name):1: this does not belong at the top level")
    }
  }

  @Test("folders have names that describe their contents")
  func folderNames() throws {
    for path in try tree.walk().folders {
      let name = path.split(separator: "/").last.map(String.init) ?? path
      #expect(!Rule.vagueFolders.contains(name), "\(path):1: this name says nothing")
    }
  }

  @Test("code that escapes the compiler's checks has a reason")
  func explained() throws {
    try expectNone(where: isSwift, Rule.explained)
  }

  @Test("the protocol, the transport and the kernel never suspend")
  func noConcurrency() throws {
    try expectNone(
      where: { isSource($0) && Rule.withoutConcurrency.contains(target(of: $0)) },
      Rule.noConcurrency
    )
  }

  @Test("a server says with each Send who waits for whom")
  func sendOrder() throws {
    try expectNone(where: { isSource($0) && $0.hasPrefix("Sources/Servers/") }, Rule.sendOrder)
  }

  @Test("what every message runs through fits in 7,100 lines, every room in 3,000")
  func rooms() throws {
    var lineCounts: [String: Int] = [:]
    for path in try tree.walk().files where isSource(path) {
      lineCounts[target(of: path), default: 0] += Rule.lines(try tree.text(path) ?? "").count
    }
    let kernel = Rule.kernel.compactMap { lineCounts[$0] }
    #expect(kernel.count == Rule.kernel.count, "a room was not found")
    #expect(
      kernel.reduce(0, +) <= Rule.kernelLinesMax,
      "Sources:1: \(kernel.reduce(0, +)) lines, at most \(Rule.kernelLinesMax) are allowed")
    #expect(lineCounts["VProtocol"] != nil, "the protocol was not found")
    for (room, count) in lineCounts {
      guard let most = Rule.linesMax(ofRoom: room) else { continue }
      #expect(count <= most, "Sources:1: \(room) has \(count) lines, at most \(most) are allowed")
    }
  }

  private func isSwift(_ path: String) -> Bool { path.hasSuffix(".swift") }

  private func isSource(_ path: String) -> Bool { isSwift(path) && path.hasPrefix("Sources/") }

  private func target(of path: String) -> String {
    path.split(separator: "/").dropFirst(2).first.map(String.init) ?? ""
  }

  /// Fails with the list of all findings, and also when the rule met no file at all.
  private func expectNone(
    where isPicked: (String) -> Bool,
    _ rule: (String, String) -> [Finding]
  ) throws {
    let (findings, fileCount) = try tree.findings(where: isPicked, rule)
    #expect(fileCount > 0, "the rule was applied to no file")
    let list = findings.map { "\n\($0)" }.joined()
    if !findings.isEmpty { Issue.record("\(findings.count) findings:\(list)") }
  }
}
