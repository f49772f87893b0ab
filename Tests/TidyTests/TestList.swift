import Testing

/// The transport's list of tests: a page with a row for each number, and the numbers at the front
/// of the tests' names.
enum TestList {
  static let page = "Sources/Protocol/VProtocol/VProtocol.docc/TestList.md"

  /// What the third column of the page says where there is a test.
  static let shown = "test"

  /// How many rows there are under each letter.
  static let counts: [(letter: String, count: Int)] = [
    ("F", 8), ("B", 5), ("L", 11), ("R", 9), ("I", 6), ("C", 8), ("W", 7), ("G", 12), ("S", 7),
    ("O", 6), ("Q", 4), ("M", 3),
  ]

  static let numbers = counts.flatMap { letter, count in (1...count).map { "\(letter)\($0)" } }

  /// The numbers of the page's rows, in order, and what each says in its third column.
  static func rows(of page: String) -> [(number: String, state: String)] {
    page.split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "|").map { $0.trimmed }
      guard cells.count == 3, isNumber(cells[0]) else { return nil }
      return (cells[0], cells[2])
    }
  }

  /// The numbers at the front of the display names of a file's tests.
  static func numbers(in source: String) -> Set<String> {
    var numbers: Set<String> = []
    for test in source.split(separator: "@Test(", omittingEmptySubsequences: false).dropFirst() {
      let name = test.drop { $0.isWhitespace }
      guard name.first == "\"", let end = name.firstRange(of: ": ")?.lowerBound else { continue }
      let front = name[..<end].dropFirst().split(separator: ",").map { $0.trimmed }
      if front.allSatisfy(isNumber) { numbers.formUnion(front) }
    }
    return numbers
  }

  /// Whether a word is a letter and a number.
  private static func isNumber(_ word: String) -> Bool {
    word.first?.isUppercase == true && word.count > 1
      && word.dropFirst().allSatisfy { $0.isASCII && $0.isNumber }
  }
}

extension Substring {
  fileprivate var trimmed: String {
    String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed())
  }
}

@Suite("The list of the transport's tests")
struct TestListTests {
  private let tree = Tree()

  @Test("has each row once, in order, and each with a test or a reason")
  func rows() throws {
    let rows = TestList.rows(of: try tree.text(TestList.page) ?? "")
    #expect(rows.map(\.number) == TestList.numbers)
    for row in rows where row.state != TestList.shown {
      #expect(row.state.contains(" "), "\(row.number) has neither a test nor a reason")
    }
  }

  @Test("has the numbers of the tests, and no others")
  func names() throws {
    var found: Set<String> = []
    for path in try tree.walk().files where path.hasPrefix("Tests/") && path.hasSuffix(".swift") {
      found.formUnion(TestList.numbers(in: try tree.text(path) ?? ""))
    }
    let rows = TestList.rows(of: try tree.text(TestList.page) ?? "")
    let listed = Set(rows.filter { $0.state == TestList.shown }.map(\.number))
    #expect(found.subtracting(listed) == [], "these tests' rows give a reason, or are missing")
    #expect(listed.subtracting(found) == [], "no test has these numbers")
  }

  @Test("is read as it is written")
  func reading() {
    let page = "| # | Shown | By |\n|---|---|---|\n| F1 | a: b | test |\n| F2 | c | not kept: d |\n"
    #expect(TestList.rows(of: page).map(\.number) == ["F1", "F2"])
    #expect(TestList.rows(of: page).map(\.state) == ["test", "not kept: d"])
    let tests = [
      "\"F1: a\")", "\n  \"B1, C12: b: c\",", "\"V1 is d\")", "\"E: f\")", "\"IPv4: g\")",
      "arguments)",
    ]
    // Joined here, so that these are no tests of this file.
    let source = tests.map { "@" + "Test(" + $0 + "\nfunc x() { y(\"G9: z\") }\n" }.joined()
    #expect(TestList.numbers(in: source) == ["F1", "B1", "C12"])
  }
}
