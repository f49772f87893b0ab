import Testing
import VProtocol
import VStore
import VTeamServer

@Suite("The request that v run writes to a host's new")
struct RunRequestTests {
  private func text(_ request: RunRequest) -> String {
    String(decoding: request.octets, as: UTF8.self)
  }

  @Test("is headers, an empty line and arguments that end with NULs")
  func plain() {
    var request = RunRequest([Array("sort".utf8), [], Array("a b\n".utf8)])
    #expect(text(request) == "class: foreground\n\nsort\0\0a b\n\0")
    request.directory = Array("/tmp/x".utf8)
    request.programClass = "guest"
    request.isAttached = true
    request.waitSeconds = 60
    request.terminal = TerminalSize(rows: 24, columns: 80)
    request.umask = 0o27
    request.group = "job"
    request.environment = [Array(#"A=1\2"#.utf8 + [10]), Array("B=".utf8)]
    #expect(
      text(request) == """
        class: guest
        dir: /tmp/x
        attached: yes
        wait: 60
        terminal: 24 80
        umask: 27
        group: job
        env: A=1\\\\2\\n
        env: B=

        sort\0\0a b\n\0
        """)
  }

  @Test("is parsed by the program manager, octet for octet")
  func understood() throws {
    var request = RunRequest([Array("/bin/echo".utf8), [], [10, 0xFF, 92]])
    request.directory = Array("/srv/x".utf8)
    request.programClass = "background"
    request.isAttached = true
    request.waitSeconds = 7
    request.terminal = TerminalSize(rows: 5, columns: 6)
    request.umask = 0o77
    request.group = "job"
    request.environment = [Array("A=1\n2\\n".utf8), [0x42, 0x3D, 0xFE]]
    let read = try ProgramRequest(parsing: request.octets)
    #expect(read.arguments == request.arguments && read.environment == request.environment)
    #expect(read.directory == request.directory && read.group == "job" && read.isAttached)
    #expect(read.programClass == .background && read.umask == 0o77 && read.waitSeconds == 7)
    #expect(read.terminal == TerminalSize(rows: 5, columns: 6))
    request.environment.append(Array("LONG=".utf8) + [UInt8](repeating: 92, count: 20_000))
    #expect(try ProgramRequest.length(request.octets) == request.octets.count)
    #expect(try ProgramRequest(parsing: request.octets).environment == request.environment)
  }

  @Test("leaves out a directory that does not fit into a line")
  func directory() {
    var request = RunRequest([Array("true".utf8)])
    request.directory = Array("/tmp/two\nlines".utf8)
    #expect(text(request) == "class: foreground\n\ntrue\0")
  }

  @Test("has its length if it does not fit into one message", arguments: [16_300, 99_900, 100_100])
  func length(octets: Int) throws {
    for extra in 0..<120 {
      let request = RunRequest([[UInt8](repeating: 0x61, count: octets + extra)])
      let written = request.octets
      guard written.count > RunRequest.messageBytesMax else {
        #expect(text(request).hasPrefix("class: "))
        continue
      }
      let line = try #require(text(request).split(separator: "\n").first)
      #expect(line == "length: \(written.count)")
    }
  }

  @Test("has the environment, without the variables of one account or session")
  func environment() {
    for variable in ["PATH=/bin", "LANG=C", "TERM=xterm", "EMPTY=", "X=a=b"] {
      #expect(CarriedEnvironment.carries(Array(variable.utf8)), "\(variable)")
    }
    for variable in [
      "HOME=/root", "USER=ann", "PWD=/", "TMPDIR=/tmp/x", "LD_PRELOAD=a.so", "LD_LIBRARY_PATH=/x",
      "MAKEFLAGS= -j4 --jobserver-auth=3,4", "MFLAGS=-j4", "GNUMAKEFLAGS=-j4",
      "XDG_RUNTIME_DIR=/run/user/1", "SSH_TTY=/dev/pts/1", "=x",
      "novalue",
    ] {
      #expect(!CarriedEnvironment.carries(Array(variable.utf8)), "\(variable)")
    }
  }
}
