import Foundation
import Testing

/// README's "Follow one Send": the path of a call through the system, file by file.
struct Tour {
  struct Step: Equatable {
    var file: String
    var function: String
  }

  /// The lines of a list in a section, each with a file and a function.
  static func steps(of page: String, in section: String = "Follow one Send") -> [Step] {
    guard let section = page.components(separatedBy: "## \(section)\n").dropFirst().first
    else { return [] }
    return section.components(separatedBy: "\n## ")[0].split(separator: "\n").compactMap { line in
      let parts = line.split(separator: "`", omittingEmptySubsequences: false)
      guard line.first == "*" || line.first?.isNumber == true, parts.count >= 5 else { return nil }
      return Step(file: String(parts[1]), function: String(parts[3]))
    }
  }

  /// Whether a file has a function or a type of a name.
  static func declares(_ name: String, _ text: String) -> Bool {
    ["func \(name)(", "func \(name)<", "struct \(name)<", "enum \(name) {"].contains {
      text.contains($0)
    }
  }

  /// Whether a file calls a function: it has the name outside of a declaration.
  static func calls(_ function: String, _ text: String) -> Bool {
    let mentions = text.ranges(of: "\(function)(").filter { range in
      let front = text[..<range.lowerBound]
      return !front.hasSuffix("func ") && front.last?.isLetter != true
    }
    return !mentions.isEmpty
  }
}

@Suite("The tour of the README")
struct TourTests {
  private let tree = Tree()

  @Test(
    "names files that are there, with the functions that it names",
    arguments: ["Follow one Send", "Where it happens"])
  func files(section: String) throws {
    let steps = Tour.steps(of: try tree.text("README.md") ?? "", in: section)
    #expect(steps.count >= 8)
    for step in steps {
      let text = try #require(try tree.text("Sources/\(step.file)"), "\(step.file)")
      #expect(Tour.declares(step.function, text), "\(step.file) has no \(step.function)")
    }
  }

  /// `Node.swift` lays out, seals and sends packets; the kernel only decides which.
  private static let driver = "Linux/VNode/Node.swift"
  private static let machine = "Linux/VNode/LinuxMachine.swift"

  @Test("each of its steps calls the next one, or is called by the node's driver")
  func calls() throws {
    let steps = Tour.steps(of: try tree.text("README.md") ?? "")
    let driver = try #require(try tree.text("Sources/\(Self.driver)"))
    let machine = try #require(try tree.text("Sources/\(Self.machine)"))
    let split = try #require(steps.firstIndex { $0.file == Self.driver })
    for (step, next) in zip(steps, steps.dropFirst()).prefix(split + 1) {
      let text = try #require(try tree.text("Sources/\(step.file)"))
      #expect(Tour.calls(next.function, text), "\(step.file) does not call \(next.function)")
    }
    for step in steps.dropFirst(split + 2).dropLast() {
      #expect(Tour.calls(step.function, driver), "\(Self.driver) does not call \(step.function)")
    }
    let last = try #require(steps.last)
    #expect(Tour.calls("transmit", driver) && Tour.calls(last.function, machine))
  }

  @Test("is found in a page, and a call differs from a declaration")
  func reading() {
    let page = "## Follow one Send\n\n1. `A/B.swift`, `go`: does.\n\n## Limits\n2. `C`, `d`: x\n"
    #expect(Tour.steps(of: page) == [Tour.Step(file: "A/B.swift", function: "go")])
    #expect(Tour.declares("go", "  func go(a: Int)") && !Tour.declares("go", "x.go(a)"))
    #expect(Tour.calls("go", "x.go(a)") && !Tour.calls("go", "func go(a: Int)"))
    #expect(!Tour.calls("go", "x.forgo(a)"))
  }
}
