import Foundation
import Glibc
import Testing

/// The hosts kea and moa, started once for the whole run and removed when it ends; and once more,
/// when a test needs that, with servers that run as processes of their own.
final class Lab: Sendable {
  static let hosts = ["kea", "moa"]

  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
  static let tools = root + "/Tests/LabTests/tools"

  /// What this machine lacks for a lab, or nil.
  static let missing: String? = {
    guard getuid() == 0 else { return "a lab needs root" }
    let device = open("/dev/fuse", O_RDWR | O_CLOEXEC)
    guard device >= 0 else { return "a lab needs /dev/fuse: \(String(cString: strerror(errno)))" }
    close(device)
    guard isBridged || access("/dev/net/tun", R_OK | W_OK) == 0 else {
      return "a lab needs /dev/net/tun (V_BRIDGE=1 does without, and without faults)"
    }
    return nil
  }()

  /// Whether the lab has the bridge, which makes no faults, in place of the switch.
  static let isBridged = ProcessInfo.processInfo.environment["V_BRIDGE"] == "1"

  static var isAvailable: Bool { missing == nil }

  /// Whether the servers run in the node or apart.
  enum Servers: String, CaseIterable, CustomTestStringConvertible {
    case inside, apart
    var testDescription: String { "servers \(rawValue)" }
  }

  private static let inside = Task { try await Lab(.inside) }
  private static let apart = Task { try await Lab(.apart) }

  static func shared(_ servers: Servers = .inside) async throws -> Lab {
    try await servers == .apart ? apart.value : inside.value
  }

  let name: String

  private init(_ servers: Servers) async throws {
    try await Self.removeLeftovers()
    name = Self.name(servers)
    atexit { for servers in Servers.allCases { Lab.down(Lab.name(servers)) } }
    try await command(
      "up",
      (Self.isBridged ? ["--bridge"] : []) + (servers == .apart ? ["--apart", "pipe,file"] : [])
        + Self.hosts, limit: .seconds(60))
    for host in Self.hosts {
      try FileManager.default.copyItem(atPath: Self.tools, toPath: disk(host) + "/tools")
    }
  }

  /// The directory of this machine that a host sees as `/srv/storage`.
  func disk(_ host: String) -> String { "/var/lib/vlab-\(name)/\(host)/storage" }

  /// Runs `Tests/lab COMMAND ARGUMENTS`; anything but success is thrown.
  @discardableResult
  func command(
    _ command: String, _ arguments: [String], limit: Duration = .seconds(30)
  ) async throws -> Outcome {
    let outcome = try await Program.run(
      Self.invocation(name, [command] + arguments), limit: limit)
    guard outcome.isSuccess else {
      throw Program.Failure(
        description: "lab \(command) \(arguments.joined(separator: " ")): \(outcome.summary)")
    }
    return outcome
  }

  /// Runs a program in a host.
  ///
  /// It is stopped there at the limit, and from here soon after that.
  func run(
    on host: String, as user: String = "root", _ arguments: [String],
    limit: Duration = .seconds(10)
  ) async throws -> Outcome {
    let seconds = String(limit.components.seconds)
    var outcome = try await Program.run(
      Self.invocation(
        name,
        ["run", "--user", user, host, "--", "timeout", "-k", "2", seconds] + arguments),
      limit: limit + .seconds(5))
    // The status of timeout(1) for a stopped program.
    if outcome.status == 124 { outcome.status = nil }
    return outcome
  }

  /// The same, with a script for bash.
  func bash(
    on host: String, as user: String = "root", _ script: String, limit: Duration = .seconds(10)
  ) async throws -> Outcome {
    try await run(on: host, as: user, ["bash", "-c", Self.functions + script], limit: limit)
  }

  /// Functions for every script, so that none sleeps instead of waiting for an event: `await
  /// COMMAND` until that succeeds, 15 s at most; `asks PID` whether that process waits for an
  /// answer of V; `locks PATTERN` whether the newest process whose command line matches waits so
  /// for a lock, in fcntl or flock (their numbers on x86 and on ARM).
  static let functions = """
    await() { local i
      for ((i = 0; i < 300; i++)); do eval "$*" && return; sleep 0.05; done; false; }
    asks() { grep -qs request_wait_answer "/proc/$1/wchan"; }
    locks() { local p n rest; p=$(pgrep -nf -- "$1") && asks $p &&
      read -r n rest <"/proc/$p/syscall" && [[ $n =~ ^(72|73|25|32)$ ]]; }

    """

  /// A bash that stays, for tests that go back and forth.
  func shell(on host: String, as user: String = "root") throws -> Shell {
    let shell = try Shell(
      host, Self.invocation(name, ["run", "--user", user, host, "--", "bash", "--norc"]))
    _ = try shell.run(Self.functions)
    return shell
  }

  /// A fresh directory of a host's storage in which anyone may write; returns its name.
  func makeDirectory(on host: String, _ name: String) async throws -> String {
    try await command("run", [host, "--", "mkdir", "-m", "1777", "/srv/storage/\(name)"])
    return name
  }

  private static func invocation(_ lab: String, _ arguments: [String]) -> [String] {
    let products = ProcessInfo.processInfo.environment["V_PRODUCTS"] ?? root + "/.build/release"
    // In the root directory, for a user who may not enter the project's directory.
    return ["env", "-C", "/", "V_LAB=\(lab)", "V_PRODUCTS=\(products)", root + "/Tests/lab"]
      + arguments
  }

  private static func name(_ servers: Servers) -> String {
    "check-\(getpid())" + (servers == .apart ? "-apart" : "")
  }

  /// Labs of test processes that died.
  private static func removeLeftovers() async throws {
    for entry in try FileManager.default.contentsOfDirectory(atPath: "/run")
    where entry.hasPrefix("vlab-check-") {
      let lab = String(entry.dropFirst("vlab-".count))
      guard let pid = pid_t(lab.split(separator: "-")[1]), kill(pid, 0) != 0 else { continue }
      _ = try await Program.run(invocation(lab, ["down"]), limit: .seconds(30))
    }
  }

  /// The process is about to exit, so this call waits.
  private static func down(_ name: String) {
    let bounded = ["timeout", "--kill-after=1", "30"] + invocation(name, ["down"])
    if let pid = try? Program.spawn(bounded, input: 0, output: 2, errors: 2) {
      waitpid(pid, nil, 0)
    }
  }
}

/// All tests that need a lab; one after the other, because they share its two hosts.
@Suite(
  "A lab of two hosts",
  .serialized,
  .enabled(if: Lab.isAvailable, "\(Lab.missing ?? "")"))
struct LabTests {}

extension Tag {
  /// Needs /dev/fuse.
  @Tag static var mount: Tag
  /// Takes a minute or more.
  @Tag static var slow: Tag
}

/// Whether a condition comes to hold within a limit; the counterpart of `await` in scripts.
func comes(
  within limit: Duration = .seconds(15), _ condition: () async throws -> Bool
) async throws -> Bool {
  let deadline = ContinuousClock.now + limit
  while try await !condition() {
    guard ContinuousClock.now < deadline else { return false }
    try await Task.sleep(for: .milliseconds(50))
  }
  return true
}

/// Expects that a program succeeded, and shows its output if not.
func expectSuccess(
  _ outcome: Outcome, _ what: String = "", sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(outcome.isSuccess, "\(what) \(outcome.summary)", sourceLocation: sourceLocation)
}
