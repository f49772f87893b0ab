import Foundation
import Testing

/// The manual pages are complete.
@Suite("Manual pages")
struct ManualTests {
  static let pages = ["v.1", "v.5", "vnode.toml.5", "vnode.8", "mount.v.8"]
  private static let products =
    ProcessInfo.processInfo.environment["V_PRODUCTS"] ?? Lab.root + "/.build/release"

  static func page(_ name: String) throws -> String {
    try String(contentsOfFile: "\(Lab.root)/mount/\(name)", encoding: .utf8)
  }

  private func help(_ arguments: [String]) async throws -> String {
    let outcome = try await Program.run(
      [Self.products + "/" + arguments[0]] + arguments.dropFirst() + ["--help"],
      limit: .seconds(10))
    expectSuccess(outcome)
    return outcome.output
  }

  /// The verbs in a help text.
  private func verbs(_ help: String) -> [String] {
    let list =
      help.components(separatedBy: "SUBCOMMANDS:\n").dropFirst().first?
      .components(separatedBy: "\n\n").first ?? ""
    return list.split(separator: "\n").compactMap { line in
      line.hasPrefix("  ") && !line.hasPrefix("   ")
        ? line.split(separator: " ").first.map(String.init) : nil
    }
  }

  private func options(_ help: String) -> Set<String> {
    Set(help.matches(of: /--([a-z][a-z-]*)/).map { String($0.1) })
      .subtracting(["version", "help"])
  }

  @Test("v(1) has every command and every option of v")
  func commands() async throws {
    let page = try Self.page("v.1")
    let verbs = verbs(try await help(["v"]))
    #expect(verbs.count >= 6)
    for verb in verbs {
      let help = try await help(["v", verb])
      var words = [(verb, help)]
      for inner in self.verbs(help) {
        words.append(("\(verb) \(inner)", try await self.help(["v", verb, inner])))
      }
      // A group of commands has no line of its own in the page, only its commands.
      for (words, help) in words.dropFirst(words.count > 1 ? 1 : 0) {
        #expect(
          page.split(separator: "\n").contains {
            $0 == ".It Cm \(words)" || $0.hasPrefix(".It Cm \(words) ")
          }, "v \(words) is not in v(1)")
        for option in options(help.components(separatedBy: "USAGE:").last ?? "") {
          let isThere = page.contains("Fl -\(option)")
          #expect(isThere, "--\(option) of v \(words) is not in v(1)")
        }
      }
    }
  }

  @Test("vnode(8) has every option of vnode")
  func daemon() async throws {
    let page = try Self.page("vnode.8")
    for option in options(try await help(["vnode"])) {
      let isThere = page.contains("Fl -\(option)")
      #expect(isThere, "--\(option) is not in vnode(8)")
    }
  }

  @Test("each page is formatted without a warning", arguments: pages)
  func format(name: String) async throws {
    #expect(!(try Self.page(name)).contains(/(?m)[^\S\n]$/))
    guard
      let outcome = try? await Program.run(
        ["groff", "-mdoc", "-Tascii", "-ww", "-z", "\(Lab.root)/mount/\(name)"],
        limit: .seconds(20))
    else { return }
    #expect(outcome.isSuccess && outcome.errors.isEmpty, "\(outcome.summary)")
  }

  @Test("completion of bash is generated, with every command")
  func completion() async throws {
    let outcome = try await Program.run(
      [Self.products + "/v", "--generate-completion-script", "bash"], limit: .seconds(10))
    expectSuccess(outcome)
    for verb in verbs(try await help(["v"])) {
      #expect(outcome.output.contains("_v_\(verb)()"), "\(verb)")
    }
  }
}

extension LabTests {
  @Suite("v(5) describes the tree", .tags(.mount))
  struct TreeTests {
    @Test("every kind of file outside the exports is described")
    func tree() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea",
        """
        ls -a /v/.v >/dev/null
        # Processes come and go meanwhile.
        find /v /v/.v \\( -path '/v/storage/*/*' -o -path '/v/ram/*' \\) -prune -o -print \\
          2>/dev/null || :
        """)
      expectSuccess(outcome)
      let described = Set(
        try ManualTests.page("v.5").matches(of: /(?m)^\.It Pa (\S+)$/).map { String($0.1) })
      let names = outcome.output.split(separator: "\n").map { path -> String in
        var parts = path.split(separator: "/").map { part in
          Lab.hosts.contains(String(part))
            ? "HOST" : part.contains(/^[A-Z]+-\d+-/) ? "ENTITY" : String(part)
        }
        // Groups of the system have what all groups have.
        if parts.count > 3 && parts[1] == "group" { parts[2] = "NAME" }
        if parts.count > 4 && parts[1] == "group" && parts[3] == "members" { parts[4] = "MEMBER" }
        if parts.count > 3 && parts[1] == "team" && parts[3].contains(/^\d+\./) {
          parts[3] = "NUMBER.PROGRAM"
          if parts.count > 5 { parts[5] = "PID" }
        }
        return "/" + parts.joined(separator: "/")
      }
      let kinds = Set(names.filter { !$0.hasSuffix("/self") && !$0.hasSuffix("/any") })
      #expect(kinds.count > 15)
      #expect(kinds.subtracting(described).subtracting(["/v"]) == [])
      // And every described file exists.
      let missing = described.subtracting(kinds).filter {
        $0.hasPrefix("/v/host") || $0.hasPrefix("/v/.v")
      }
      #expect(missing.isEmpty, "\(missing)")
    }
  }
}
