import Testing
import VProtocol

@Suite("Programs as people and hosts name them")
struct ProgramTests {
  @Test(
    "are named with or without host, name and path",
    arguments: [
      ("moa/12.sort", "moa", 12, "12.sort"), ("moa/12", "moa", 12, nil), ("12", nil, 12, nil),
      ("12.a.b", nil, 12, "12.a.b"), ("/v/team/moa/12.sort", "moa", 12, "12.sort"),
      ("team/moa/12", "moa", 12, nil), ("self/7", nil, 7, nil),
      ("moa/12.sort/", "moa", 12, "12.sort"),
    ] as [(String, String?, UInt32, String?)])
  func names(text: String, host: String?, number: UInt32, full: String?) throws {
    let name = try #require(ProgramName(text))
    #expect(name.host == host && name.number == number && name.full == full)
    #expect(name.matches(full ?? "\(number).x"))
    #expect(!name.matches("1\(number).x") && !name.matches("\(number)"))
  }

  @Test(
    "have no other names",
    arguments: ["", "sort", "moa/sort", "0", "-1", "/etc/12", "/v/host/moa/12", "a/b/12", "moa/"])
  func noNames(text: String) {
    #expect(ProgramName(text) == nil)
  }

  @Test("end with a status as a shell shows it")
  func ends() {
    for (text, status) in [
      ("exited 0\n", 0), ("exited 3", 3), ("killed TERM\n", 143), ("killed KILL", 137),
      ("killed 34", 162),
    ] as [(String, Int32)] {
      #expect(RunExit(text)?.status == status, "\(text)")
    }
    for text in ["running", "stopped\n", "exited", "exited x", ""] {
      #expect(RunExit(text) == nil)
    }
  }

  @Test("that were not started have the status 127, 126 or 125")
  func refusals() {
    func status(_ isNotFound: Bool, _ words: String) -> Int32 {
      RunStatus.ofRefusedStart(isNotFound: isNotFound, words: words, program: "ls")
    }
    #expect(status(true, "no such program: ls") == 127)
    #expect(status(false, "ls: permission denied") == 126)
    #expect(status(false, "moa runs no programs of ann@kea") == 125)
  }

  @Test("get signals by name and by number")
  func signals() {
    for (name, number) in [("TERM", 15), ("sigint", 2), ("9", 9), ("SIGWINCH", 28)]
      as [(String, Int32)]
    {
      #expect(Signal.number(of: name) == number)
    }
    for name in ["", "0", "65", "NOTHING", "SIG"] { #expect(Signal.number(of: name) == nil) }
    for number: Int32 in 1...64 {
      #expect(Signal.number(of: Signal.name(of: number)) == number)
    }
  }

  @Test("have a notice in their status if they run in another directory")
  func status() {
    let there = ProgramStatus("name 12.sort\ndirectory /home/a b\nstate running\n")
    #expect(there["directory"] == "/home/a b" && there.notice(host: "moa") == nil)
    let elsewhere = ProgramStatus("directory /home/ann\nasked /tmp/x\n")
    #expect(elsewhere.notice(host: "moa") == "moa has no /tmp/x; running in /home/ann")
  }
}
