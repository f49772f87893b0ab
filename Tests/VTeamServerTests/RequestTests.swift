import Testing
import VObjects
import VProtocol
import VStore
import VTeamServer

@Suite("Requests to start a program")
struct RequestTests {
  private func parse(_ text: String) throws(Refusal) -> ProgramRequest {
    try ProgramRequest(parsing: Array(text.utf8))
  }

  private func words(_ text: String) -> String {
    do throws(Refusal) {
      let request = try parse(text)
      return "parsed as \(request)"
    } catch {
      return error.code == .badArguments ? error.words : "\(error)"
    }
  }

  private func texts(_ octets: [[UInt8]]) -> [String] {
    octets.map { String(decoding: $0, as: UTF8.self) }
  }

  @Test("a line is the shell's, and arguments that end with NULs are the program's")
  func commands() throws {
    let line = try parse("sort -u big.txt > out\n")
    #expect(texts(line.arguments) == ["/bin/sh", "-c", "sort -u big.txt > out"])
    #expect(line.name == "sort" && !line.isAttached && line.programClass == .foreground)
    #expect(line.environment.isEmpty && line.directory.isEmpty && line.terminal == nil)
    #expect(texts(try parse("cd /\nls\n\n").arguments).last == "cd /\nls\n")
    let program = try parse("/usr/bin/printf\0a b\0\0\n\0")
    #expect(texts(program.arguments) == ["/usr/bin/printf", "a b", "", "\n"])
    #expect(program.name == "printf")
  }

  @Test("names have only characters that no shell treats as special")
  func names() throws {
    for (command, name) in [
      ("  \t./a.out x", "a.out"), ("(sleep 1)", "_sleep"), ("/", "sh"), ("X=1 env", "X_1"),
      (String(repeating: "n", count: 40), String(repeating: "n", count: 32)),
      ("/bin/\u{e9}t\u{e9}\0", "__t__"), ("..\0", ".."), ("g++-12 a.cc", "g++-12"),
    ] { #expect(try parse(command).name == name, "\(command)") }
  }

  @Test("headers tell how to run it")
  func headers() throws {
    let request = try parse(
      """
      dir: /v/storage/kea/my dir
      env: A=1
      env: B=two\\nlines\\\\n=
      class: guest
      attached: yes
      wait: 60
      terminal: 24 80
      umask: 027
      group: build

      dir: not a header
      """)
    #expect(String(decoding: request.directory, as: UTF8.self) == "/v/storage/kea/my dir")
    #expect(texts(request.environment) == ["A=1", "B=two\nlines\\n="])
    #expect(request.programClass == .guest && request.isAttached && request.group == "build")
    // Names of groups are octets, like all names.
    let group = [0x62, 0xCC, 0x81, 0xFF] as [UInt8]
    let named = try ProgramRequest(parsing: Array("group: ".utf8) + group + Array("\n\nls".utf8))
    #expect(named.group == Name(group))
    #expect(request.terminal == TerminalSize(rows: 24, columns: 80) && request.umask == 0o27)
    #expect(request.waitSeconds == 60)
    #expect(try parse("ls").umask == 0o22)
    #expect(texts(request.arguments).last == "dir: not a header")
    // A line that only looks like a header is a command.
    for command in ["dir:/x", "echo: hi", "dir", "Dir: /"] {
      #expect(texts(try parse(command).arguments).last == command)
    }
  }

  @Test("every error has its words")
  func mistakes() {
    for (text, expected) in [
      ("", "the command is empty"), (" \n", "the command is empty"),
      ("dir: /\n\n", "the command is empty"), ("\0a\0", "the command is empty"),
      ("a\0b", "the last argument does not end with a NUL"),
      ("a\0b\0\n", "the last argument does not end with a NUL"),
      ("class: vip\n\nls", "class: \"vip\" is none of foreground, background, guest"),
      ("attached: no\n\nls", "attached: yes, or no such line"),
      ("dir: home\n\nls", "dir: an absolute path of less than 4096 octets"),
      ("env: =x\n\nls", "env: NAME=VALUE"), ("env: x\n\nls", "env: NAME=VALUE"),
      ("env: a=\\t\n\nls", "env: after a backslash comes n or a backslash"),
      ("env: a=\\\n\nls", "env: after a backslash comes n or a backslash"),
      ("env: a=\0\n\nls", "env: a NUL in a header"),
      ("terminal: 24\n\nls", "terminal: two numbers, of rows and of columns"),
      ("terminal: 0 80\n\nls", "terminal: two numbers, of rows and of columns"),
      ("terminal: 24 70000\n\nls", "terminal: two numbers, of rows and of columns"),
      ("wait: -1\n\nls", "wait: seconds, at most 86400"),
      ("wait: 86401\n\nls", "wait: seconds, at most 86400"),
      ("umask: 8\n\nls", "umask: an octal number up to 777"),
      ("umask: 1000\n\nls", "umask: an octal number up to 777"),
      ("umask: -1\n\nls", "umask: an octal number up to 777"),
      ("umask: +7\n\nls", "umask: an octal number up to 777"),
      ("group: a/b\n\nls", "group: a name without '/', of at most 255 octets"),
      ("class: guest\nls", "no empty line between the headers and the command"),
      (
        "class: guest\nls\u{1b}\n\n",
        "\"ls?\" is no header; there are length, dir, env, class, attached, wait, terminal, umask, "
          + "group"
      ),
      (
        String(repeating: "x", count: (8 << 20) + 1),
        "arguments, environment and other lines have at most 8388608 octets together"
      ),
    ] { #expect(words(text) == expected) }
  }

  @Test("takes no more memory than its footprint, computed before parsing")
  func footprint() throws {
    for text in ["ls", "a\0b\0\0", "env: A=1\nenv: B=\n\nsort\0-u\0", "umask: 7\n\nls -l"] {
      let request = try parse(text)
      let order = ProgramOrder(
        name: request.name, arguments: request.arguments, environment: request.environment,
        user: "ann", starter: "ann@kea")
      #expect(ProgramRequest.footprint(Array(text.utf8)) >= order.footprint, "\(text)")
    }
  }

  @Test("headers whose command has not come yet are no error")
  func unfinished() throws {
    func isUnfinished(_ text: String) throws -> Bool {
      try ProgramRequest.isUnfinished(Array(text.utf8))
    }
    for text in ["dir: /x", "dir: /x\n", "dir: /x\nenv: A=", "dir: /x\n\n"] {
      #expect(try isUnfinished(text))
    }
    for text in ["", "ls", "ls\n", "dir: /x\n\nl", "dir: /x\n\n\n"] {
      #expect(try !isUnfinished(text))
    }
    for text in ["dir: x\n", "dir: /x\nls\n"] {
      #expect(throws: Refusal.self) { try isUnfinished(text) }
    }
  }

  @Test("a request may have a length, and no other line counts as one")
  func length() throws {
    func length(_ text: String) throws -> Int? {
      try ProgramRequest.length(Array(text.utf8))
    }
    #expect(try length("length: 8388608\nls") == 8 << 20)
    #expect(try length("length: 1") == 1)
    #expect(try length("ls length: 1\n") == nil)
    #expect(try length("length:1") == nil)
    for wrong in ["0", "-1", "x", ""] {
      #expect(throws: Refusal(.badArguments, "length: a number of octets")) {
        try length("length: \(wrong)\n\nls")
      }
    }
    let words = "arguments, environment and other lines have at most 8388608 octets together"
    #expect(throws: Refusal(.badArguments, words)) { try length("length: 8388609\n\nls") }
    let request = try parse("length: 24\nenv: A=1\n\nls\n")
    #expect(texts(request.environment) == ["A=1"] && request.name == "ls")
  }
}

@Suite("Lines for a program's ctl")
struct ControlLineTests {
  private func parse(_ text: String) -> ControlLine? {
    try? ControlLine(parsing: Array(text.utf8))
  }

  @Test("are one command each")
  func commands() {
    #expect(parse("suspend\n") == .program(.suspend))
    #expect(parse("resume") == .program(.resume))
    #expect(parse("kill") == .program(.kill(signal: 15)))
    for name in ["KILL", "SIGKILL", "kill", "9"] {
      #expect(parse("kill \(name)\n") == .program(.kill(signal: 9)))
    }
    #expect(parse("kill 64") == .program(.kill(signal: 64)))
    #expect(parse("class background") == .program(.setClass(.background)))
    #expect(parse("size 50 132\n") == .program(.setSize(TerminalSize(rows: 50, columns: 132))))
    #expect(parse("join b c") == .join("b c"))
    #expect(parse("leave b") == .leave("b"))
  }

  @Test("and every error has its words")
  func mistakes() {
    for (line, words) in [
      ("", "\"\" is no command; cat ctl lists them"),
      ("suspend now", "\"suspend now\" is no command; cat ctl lists them"),
      ("kill HARD", "kill: no signal \"HARD\""), ("kill 0", "kill: no signal \"0\""),
      ("kill 65", "kill: no signal \"65\""), ("kill -9", "kill: no signal \"-9\""),
      ("class first", "class: one of foreground, background, guest"),
      ("size 1", "size: two numbers, of rows and of columns"),
      ("join a/b", "\"join a/b\" is no command; cat ctl lists them"),
      ("resume\nresume\n", "one command at a time"),
      ("\u{7}\u{e9}", "\"???\" is no command; cat ctl lists them"),
    ] {
      #expect(throws: Refusal(.badArguments, words)) {
        try ControlLine(parsing: Array(line.utf8))
      }
    }
    #expect(throws: Refusal(.badArguments, "\"?x\" is no text")) {
      try ControlLine(parsing: [0xFF, 0x78])
    }
  }

  @Test("signals and states have Linux's names")
  func states() {
    #expect(Signal.name(of: 2) == "INT" && Signal.name(of: 40) == "40")
    for signal in 1...Int32(31) {
      #expect(Signal.number(of: Signal.name(of: signal)) == signal)
    }
    let states: [ProgramState] = [
      .running, .stopped, .suspended, .exited(3), .killed(signal: 11), .killed(signal: 35),
    ]
    #expect(
      states.map { "\($0)" } == [
        "running", "stopped", "suspended", "exited 3", "killed SEGV", "killed 35",
      ])
  }
}

@Suite("Rules for starting programs")
struct RunRulesTests {
  /// A principal by its text; root has all rights over its host.
  private func principal(_ text: String) throws -> Principal {
    try #require(Principal(text, marks: text.hasPrefix("root@") ? .fullRoot : []))
  }

  /// Nil: only as a guest.
  private func user(_ text: String, _ rules: [String], guest: String? = nil) throws -> String? {
    try #require(RunRules(rules, host: "moa", guest: guest))
      .user(startingFor: try principal(text))
  }

  @Test("users of this host may, as themselves, if they have a name")
  func own() throws {
    for user in ["ann", "root"] { #expect(try self.user("\(user)@moa", []) == user) }
    for user in ["#1234", "nobody"] {
      #expect(throws: Refusal(.noPermission, "moa has no user \(user)")) {
        try self.user("\(user)@moa", ["*@*"], guest: "visitor")
      }
    }
  }

  @Test("others may if a rule says so, and root only by name")
  func others() throws {
    for (principal, rules, expected) in [
      ("ann@kea", ["ann@kea"], "ann"), ("ann@kea", ["*@kea"], "ann"),
      ("ann@kea", ["ann@*"], "ann"), ("ann@kea", ["*@*"], "ann"),
      ("root@kea", ["root@kea"], "root"), ("root@kea", ["*@*", "root@*"], "root"),
    ] { #expect(try user(principal, rules) == expected, "\(principal) \(rules)") }
    for (principal, rules) in [
      ("ann@kea", []), ("ann@kea", ["ann@tui", "bob@kea", "root@*"]), ("root@kea", ["root@tui"]),
      ("root@kea", ["ann@kea"]), ("root@kea", ["*@*"]), ("root@kea", ["root@tui", "*@kea"]),
    ] {
      for guest in [nil, "visitor"]
      where guest == nil || !rules.contains(where: { $0.hasPrefix("*") }) {
        let words = "moa runs no programs of \(principal): run in its vnode.toml says whose it runs"
        #expect(throws: Refusal(.noPermission, words)) {
          try user(principal, rules, guest: guest)
        }
      }
    }
  }

  @Test("a principal that is nobody here is a guest, if there are guests")
  func guests() throws {
    for name in ["root@kea", "#77@kea", "nobody@kea"] {
      #expect(try user(name, ["*@*"], guest: "visitor") == nil)
      #expect(throws: Refusal.self) { try user(name, ["*@*"]) }
    }
    let rules = try #require(RunRules(["*@*"], host: "moa", guest: "visitor"))
    #expect(try rules.guest(for: principal("eve@kea")) == "visitor")
    #expect(throws: Refusal(.noPermission, "moa has no user eve")) {
      try rules.guest(for: principal("eve@moa"))
    }
    for name in ["root", "nobody", "#7", "", "a b", "a@b"] { #expect(!RunRules.canBeGuest(name)) }
    #expect(RunRules.canBeGuest("visitor"))
  }

  @Test("root of a container is no root, of this host or of one that is trusted")
  func limitedRoot() throws {
    let rules = try #require(RunRules(["root@kea"], host: "moa"))
    for host in ["moa", "kea"] {
      let limited = Principal(user: "root", host: host, marks: .mountMade)
      #expect(throws: Refusal.self) { try rules.user(startingFor: limited) }
      #expect(rules.identity(of: limited) == "root@\(host)")
    }
  }

  @Test("objects belong to the user of the same name who may run programs here")
  func identity() throws {
    let rules = try #require(RunRules(["*@kea", "root@kea"], host: "moa"))
    for (text, name) in [
      ("ann@kea", "ann"), ("ann@moa", "ann"), ("root@moa", "root"), ("root@kea", "root"),
      ("root@tui", "root@tui"), ("#77@kea", "#77@kea"), ("#77@moa", "#77"),
      ("ann@tui", "ann@tui"), ("nobody@kea", "nobody@kea"),
    ] { #expect(try rules.identity(of: principal(text)) == name) }
  }

  @Test("a malformed rule is refused")
  func syntax() {
    for rule in ["ann", "@kea", "ann@", "", "a@b@c"] {
      #expect(RunRules([rule], host: "moa") == nil)
    }
  }
}
