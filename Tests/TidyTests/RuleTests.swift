import Testing

/// Shows for every rule a text that breaks it and one that only looks as if it did.
@Suite("Tidy rules")
struct RuleTests {
  @Test(
    "comments and literals are not code",
    arguments: [
      ("a // b", "a     "),
      ("a /* b /* c */ d */ e", "a                   e"),
      (#"f("x") + 1"#, "f(   ) + 1"),
      (#"f("\"}") }"#, "f(     ) }"),
      (#"f("\(g("}") + ")")") }"#, "f(                 ) }"),
      (##"f(#"a"\b"#) }"##, "f(        ) }"),
      (##"f(#"\#(x)" }"#) }"##, "f(            ) }"),
      ("f(\"\"\"\n }\" {\n \"\"\") }", "f(   \n     \n    ) }"),
      ("#if x", "#if x"),
      ("\"\" + a", "   + a"),
    ]
  )
  func masking(text: String, code: String) {
    #expect(SwiftSource(text).code.joined(separator: "\n") == code)
  }

  @Test("a comment marks every line that it touches")
  func comments() {
    let source = SwiftSource("a\nb // c\n/* d\ne */ f\n\"// g\"\n")
    #expect(source.isCommented == [false, true, true, true, false, false])
  }

  @Test("functions end at their own brace")
  func functions() {
    let source = SwiftSource(
      """
      protocol P {
        func requirement() -> Int
        var property: Int { get }
        init(x: Int)
      }
      struct S: P {
        var stored: [Int] = [1].map { $0 }
        var property: Int {
          stored.count
        }
        init(x: Int = { 3 }()) {
          self.init(y: x)
        }
        subscript(i: Int) -> Int { i }
        func requirement()
          -> Int
        {
          if true { return "}".count }
          func inner() {
          }
          return 1
        }
        deinit {}
      }
      """
    )
    #expect(
      source.functions == [
        FunctionExtent(name: "property", firstLine: 3, lastLine: 3),
        FunctionExtent(name: "property", firstLine: 8, lastLine: 10),
        FunctionExtent(name: "init", firstLine: 11, lastLine: 13),
        FunctionExtent(name: "subscript", firstLine: 14, lastLine: 14),
        FunctionExtent(name: "requirement", firstLine: 15, lastLine: 22),
        FunctionExtent(name: "inner", firstLine: 19, lastLine: 20),
        FunctionExtent(name: "deinit", firstLine: 23, lastLine: 23),
      ]
    )
  }

  @Test("a function of 71 lines is too long, one of 70 is not")
  func functionLength() {
    func text(_ count: Int) -> String {
      "\nfunc f() {\n" + String(repeating: "  g()\n", count: count - 2) + "}\n"
    }
    #expect(Rule.functionLength("F.swift", text(70)) == [])
    #expect(
      Rule.functionLength("F.swift", text(71)).map(\.description)
        == ["F.swift:2: f has 71 lines; a function has at most 70"]
    )
  }

  @Test("a file of 501 lines is too long, one of 500 is not")
  func fileLength() {
    let line = "let a = 1\n"
    #expect(Rule.fileLength("F.swift", String(repeating: line, count: 500)) == [])
    #expect(Rule.fileLength("F.swift", String(repeating: line, count: 501)).map(\.line) == [501])
  }

  @Test("a line of 101 columns is too wide, one of 100 is not")
  func columns() {
    let wide = String(repeating: "a", count: 100)
    #expect(Rule.columns("F.swift", wide + "\n") == [])
    #expect(Rule.columns("F.swift", "\n" + wide + "a\n").map(\.line) == [2])
  }

  @Test("one letter beyond ASCII is found")
  func ascii() {
    #expect(Rule.ascii("README.md", "plain ~ text\n") == [])
    #expect(Rule.ascii("README.md", "plain\ncaf\u{e9}\n").map(\.line) == [2])
  }

  @Test("a developer's path is found in any text")
  func privatePaths() {
    #expect(Rule.privatePaths("a", "shared/ work/ /workshop/\n") == [])
    #expect(Rule.privatePaths("a", "see /" + "work/notes\n").map(\.line) == [1])
    #expect(Rule.privatePaths("a", "\nsee .." + "/shared/x\n").map(\.line) == [2])
  }

  @Test("suspension is found in code and only there")
  func noConcurrency() {
    let good = "// await\nlet awaitsReply = \"async\"\nlet asynchronous = 1\n"
    #expect(Rule.noConcurrency("K.swift", good) == [])
    let bad = "func f() async {\n  await g()\n}\n"
    #expect(Rule.noConcurrency("K.swift", bad).map(\.line) == [1, 2])
  }

  @Test(
    "a risky construct needs a comment beside or above it",
    arguments: ["Task.detached", "DispatchQueue", "nonisolated(unsafe)", "@unchecked Sendable"]
  )
  func explained(construct: String) {
    #expect(Rule.explained("A.swift", "let a = 1\n\(construct)\n").map(\.line) == [2])
    #expect(Rule.explained("A.swift", "// why\n\n\(construct)\n").map(\.line) == [3])
    #expect(Rule.explained("A.swift", "// why\n\(construct)\n") == [])
    #expect(Rule.explained("A.swift", "\(construct)  // why\n") == [])
    #expect(Rule.explained("A.swift", "let a = \"\(construct)\"\n") == [])
  }

  @Test("a Send of a server without its two parties is found")
  func sendOrder() {
    #expect(Rule.sendOrder("A.swift", "backplane.send(\n  a, from: b)\n").map(\.line) == [1])
    #expect(Rule.sendOrder("A.swift", "backplane.send(\n  a, PartySend(b, to: c))\n") == [])
    #expect(Rule.sendOrder("A.swift", "x = ClientPool(backplane)\n").map(\.line) == [1])
    #expect(Rule.sendOrder("A.swift", "x = ClientPool(backplane, of: .node)\n") == [])
  }

  @Test(
    "an import is recognized in every form",
    arguments: [
      ("import A", "A"), ("  @testable import A", "A"), ("public import struct A.B", "A"),
      ("@_spi(X) internal import A", "A"), ("important A", nil), ("let import = A", nil),
    ]
  )
  func importForms(line: String, module: String?) {
    #expect(ImportTable.importedModule(line) == module)
  }

  @Test(
    "an arrow outside the table is refused",
    arguments: [
      ("VProtocol", "Glibc"), ("VFileServer", "Glibc"), ("VTransport", "VKernel"),
      ("VKernel", "VRuntime"),
      ("VRuntime", "CVLinux"), ("VLoop", "VRuntime"), ("VNode", "VMount"), ("VAttach", "VNode"),
      ("VMount", "VNode"), ("VMount", "CFuse3"), ("VMount", "Glibc"), ("VFuse", "VProtocol"),
      ("VClient", "VObjects"), ("VObjects", "VClient"), ("VFileServer", "VPipeServer"),
      ("VFileServer", "VLoop"), ("VFileServer", "VKernel"), ("vnode", "Foundation"),
      ("v", "VNode"), ("VNode", "FoundationEssentials"), ("VMount", "Logging"),
    ]
  )
  func refusedArrow(target: String, module: String) {
    let findings = table.findings("F.swift", "\nimport \(module)\n", target: target)
    #expect(findings.map(\.description) == ["F.swift:2: \(target) must not import \(module)"])
  }

  @Test(
    "an arrow of the table is allowed",
    arguments: [
      ("VProtocol", "Synchronization"), ("VTransport", "VProtocol"), ("VKernel", "VTransport"),
      ("VRuntime", "VProtocol"), ("VNode", "VKernel"), ("VAttach", "VLoop"),
      ("VFuse", "CFuse3"), ("VMount", "VClient"), ("VLinuxStore", "Glibc"),
      ("vnode", "VPipeServer"), ("vnode", "TOMLKit"), ("v", "VAttach"), ("v", "ArgumentParser"),
    ]
  )
  func allowedArrow(target: String, module: String) {
    #expect(table.findings("F.swift", "import \(module)\n", target: target) == [])
  }

  private let table = ImportTable(
    targets: ImportTable.named.union(["VFileServer", "VPipeServer"])
  )
}
