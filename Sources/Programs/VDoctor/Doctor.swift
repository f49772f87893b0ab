package import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v doctor`: whether this machine can be a host of V, and what keeps it from that.
package struct Doctor: ParsableCommand {
  package static let configuration = CommandConfiguration(
    abstract: "Checks this machine and its cluster, and says what to do about what is wrong.",
    discussion: """
      Example: v doctor

      Each line is one check: ok, warn for what works but not as it should, fail for what does \
      not work. Works with and without a running node. Exit status: 0 if nothing failed, else 1.
      """)

  @OptionGroup var options: CommonOptions

  @Option(
    help: ArgumentHelp(
      "The node's configuration (default: /etc/v/vnode.toml, if there is one).",
      valueName: "path"))
  var config: String?

  package init() {}

  package func run() throws {
    var checkup = Checkup(options, config)
    checkup.run()
    if options.json {
      say(JSON.reply(["checks": checkup.results]).text)
    } else {
      let width = checkup.results.map { $0.check.count }.max() ?? 0
      say(checkup.results.map { $0.text(width) }.joined(separator: "\n"))
    }
    let failed = checkup.results.filter { $0.verdict == .fail }.count
    guard failed > 0 else { return }
    throw Failure(
      status: .refused, description: "doctor: \(failed) check\(failed == 1 ? "" : "s") failed")
  }
}

/// One line of `v doctor`.
struct CheckResult: Encodable {
  enum Verdict: String, Encodable {
    case ok, warn, fail
  }

  var verdict: Verdict
  var check: String
  var detail: String
  var remedy: String?

  private enum CodingKeys: String, CodingKey {
    case check
    case verdict = "result"
    case detail, remedy
  }

  func text(_ width: Int) -> String {
    let pad = String(repeating: " ", count: width - check.count)
    let line =
      verdict.rawValue + (verdict == .ok ? "    " : "  ") + check + pad + "  " + detail
    return remedy.map { "\(line)\n      \($0)" } ?? line
  }
}

/// The checks, each after those that it depends on.
struct Checkup {
  private(set) var results: [CheckResult] = []
  private let options: CommonOptions
  private let config: String?
  let prober: Prober
  /// The effective configuration: keys and values as `vnode --effective-config` prints them.
  private(set) var effective: [String: String] = [:]
  private(set) var report: NodeReport?

  init(_ options: CommonOptions, _ config: String?) {
    self.options = options
    self.config = config
    prober = Prober(seconds: options.timeout)
  }

  mutating func run() {
    checkFuse()
    checkPrivilege()
    checkConfiguration()
    checkKey()
    checkNode()
    checkPort()
    checkNetwork()
    checkMount()
    checkTime()
    checkPeers()
  }

  mutating func add(
    _ verdict: CheckResult.Verdict, _ check: String, _ detail: String, _ remedy: String? = nil
  ) {
    results.append(CheckResult(verdict: verdict, check: check, detail: detail, remedy: remedy))
  }

  private mutating func checkFuse() {
    if access("/dev/fuse", F_OK) != 0 {
      add(.fail, "/dev/fuse", "is missing", "modprobe fuse; a container must be given it")
    } else if access("/dev/fuse", R_OK | W_OK) != 0 {
      let isRoot = geteuid() == 0
      add(
        isRoot ? .fail : .warn, "/dev/fuse", "may not be used by this user",
        isRoot ? "see the permissions of /dev/fuse" : "sudo v doctor")
    } else {
      add(.ok, "/dev/fuse", "is there")
    }
    if let library = dlopen("libfuse3.so.3", RTLD_LAZY) {
      dlclose(library)
      add(.ok, "fuse3", "libfuse3 is installed")
    } else {
      add(.fail, "fuse3", "there is no libfuse3.so.3", "apt-get install fuse3")
    }
  }

  private mutating func checkPrivilege() {
    if geteuid() == 0 {
      add(.ok, "privilege", "root")
    } else {
      add(
        .warn, "privilege", "not root: only root mounts, and some checks see less",
        "sudo v doctor")
    }
  }

  private mutating func checkConfiguration() {
    let path = config ?? "/etc/v/vnode.toml"
    guard let vnode = Installation.program("vnode") else {
      return add(.fail, "configuration", "there is no vnode to check it with", "build V: mount/up")
    }
    let arguments = config.map { ["--config", $0] } ?? []
    let shown = Command.run([vnode, "--effective-config"] + arguments)
    for line in shown.output.split(separator: "\n") {
      let parts = line.split(separator: "=", maxSplits: 1).map {
        String($0.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
      }
      guard parts.count == 2 else { continue }
      effective[parts[0]] =
        parts[1].hasPrefix("\"") ? String(parts[1].dropFirst().dropLast()) : parts[1]
    }
    let checked = Command.run([vnode, "--check-config"] + arguments)
    if checked.status == 0 {
      let isThere = access(path, F_OK) == 0
      add(.ok, "configuration", isThere ? path : "none: the defaults, for this machine alone")
    } else {
      let reason = checked.errors.split(separator: "\n").first.map(String.init) ?? "no reason"
      // The node is root's, and so is what it reads.
      if geteuid() != 0, reason.hasSuffix(errorText(EACCES)) {
        return add(
          .warn, "configuration", "may not be checked by this user: \(reason)", "sudo v doctor")
      }
      add(.fail, "configuration", reason, "v help doctor; man vnode.toml explains every key")
    }
  }

  private mutating func checkKey() {
    guard let path = effective["key_file"], !path.isEmpty else {
      return add(
        .warn, "cluster key", "none: the node serves this machine alone",
        "see key_file in man vnode.toml")
    }
    var status = stat()
    let error = stat(path, &status) == 0 ? 0 : errno
    if error == EACCES {
      add(.warn, "cluster key", "\(path) may not be looked at by this user", "sudo v doctor")
    } else if error != 0 {
      add(
        .fail, "cluster key", "\(path): \(errorText(error))",
        "copy it from another host, or make it: head -c 32 /dev/urandom >\(path)")
    } else if status.st_uid != 0 && status.st_uid != geteuid() {
      add(
        .fail, "cluster key", "\(path) belongs to user number \(status.st_uid)",
        "chown root \(path)")
    } else if status.st_mode & 0o077 != 0 {
      let mode = String(status.st_mode & 0o7777, radix: 8)
      add(.fail, "cluster key", "\(path) has mode \(mode)", "chmod 600 \(path)")
    } else if status.st_size < 16 {
      add(.fail, "cluster key", "\(path) has less than 16 octets", "make it anew, on all hosts")
    } else {
      add(.ok, "cluster key", "\(path), readable by its owner alone")
    }
  }

  private mutating func checkNode() {
    do {
      let node = try options.attach()
      defer { node.close() }
      let report = try options.report(of: node, "doctor")
      self.report = report
      let kernel = report.values["kernel"] ?? "-"
      add(
        .ok, "node",
        "\(node.host) runs, kernel \(kernel), up \(Text.duration(report.uptimeMilliseconds))")
    } catch let failure as Failure {
      add(.fail, "node", failure.description, failure.remedy ?? CommonOptions.startCommand)
    } catch {
      add(.fail, "node", "\(error)", CommonOptions.startCommand)
    }
  }

  /// Without a cluster key a node opens no network socket.
  var isAlone: Bool { report.map { !$0.isSealed } ?? (effective["key_file"] ?? "").isEmpty }

  private mutating func checkPort() {
    if isAlone { return add(.ok, "port", "none: without a cluster key the node opens no socket") }
    let named = effective["listen"] ?? ""
    let address = named.isEmpty ? "0.0.0.0" : named
    let configured = UInt16(effective["port"] ?? "").flatMap { port in
      IPAddress(address).map { $0.text(withPort: port) }
    }
    let place = report?.values["address"] ?? configured ?? "\(address):\(effective["port"] ?? "")"
    guard let port = place.split(separator: ":").last.flatMap({ UInt16($0) }) else { return }
    if report != nil { return add(.ok, "port", "the node has \(place)/udp") }
    guard let problem = prober.portProblem(address, port) else {
      return add(.ok, "port", "\(place)/udp is free")
    }
    let holders = Processes.holding(udpPort: port)
    add(
      .fail, "port",
      "\(place)/udp: \(problem)"
        + (holders.isEmpty ? "" : "; it is held by \(holders.joined(separator: ", "))"),
      "end that process, or set port or listen in the configuration")
  }
}
