import ArgumentParser
import Glibc
import VCommand

/// `v mount`: mounts the name space on a directory, by this host's node, which it starts if needed.
struct MountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mounts the name space; starts this host's node if needed.",
    discussion: """
      Example: v mount /v

      A node mounts at one place, when it starts: a node that has the mount already is left \
      alone, one whose mount was taken away is started anew, a mount whose node died is \
      repaired. The same as mount -t v v DIR. Returns when ls DIR works.
      """)

  @OptionGroup var options: MountOptions

  @Argument(help: ArgumentHelp("The mount point.", valueName: "dir"), completion: .directory)
  var directory = "/v"

  func run() throws {
    do throws(Failure) {
      try mount()
      options.show(MountReply(mount: directory, isMounted: true))
    } catch {
      options.show(
        MountReply(mount: directory, isMounted: false, error: error.description))
      throw error
    }
  }

  private func mount() throws(Failure) {
    guard geteuid() == 0 else {
      throw Failure(status: .refused, description: "mount \(directory): only root can mount V")
    }
    let helpers = [Installation.script("mount.v") ?? "", "/sbin/mount.v"]
    let helper = helpers.first { access($0, X_OK) == 0 }
    guard let helper else {
      throw Failure(
        status: .refused, description: "mount \(directory): there is no /sbin/mount.v",
        remedy: "mount/up installs it")
    }
    // The script itself reports what it does and what is wrong.
    let outcome = Command.run(
      ["timeout", "-k", "1", "\(options.timeout)", helper, "v", directory, "-v"],
      isShown: !options.json)
    if outcome.status == 124 {
      throw Failure(
        status: .timeLimit,
        description: "mount \(directory): \(helper) was not done after \(options.timeout) s")
    }
    guard outcome.status == 0 else {
      throw Failure(
        status: .refused, description: "mount \(directory): \(helper) ended with \(outcome.status)")
    }
  }
}

/// The options of both commands.
struct MountOptions: ParsableArguments {
  @Flag(help: "Print one JSON object instead of text for people.")
  var json = false

  @Option(help: "Give up after so many seconds.")
  var timeout = 20.0

  func validate() throws {
    guard timeout > 0, timeout <= 3600 else {
      throw ValidationError("--timeout takes a number of seconds, above 0 and at most 3600.")
    }
  }

  func show(_ reply: some Encodable) {
    if json { say(JSON.reply(reply).text) }
  }
}

private struct MountReply: Encodable {
  var mount: String
  var isMounted: Bool
  var error: String?

  private enum CodingKeys: String, CodingKey {
    case mount
    case isMounted = "is_mounted"
    case error
  }
}

private struct UnmountReply: Encodable {
  var mount: String
  var isUnmounted: Bool
  var error: String?
  var holders: [String] = []

  private enum CodingKeys: String, CodingKey {
    case mount
    case isUnmounted = "is_unmounted"
    case error, holders
  }
}

/// `v unmount`: unmounts, or names the processes that keep the mount busy.
struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount",
    abstract: "Unmounts the name space, or names the processes that use it.",
    discussion: """
      Example: v unmount /v

      The node goes on serving other hosts; v mount brings the mount back. A mount in use stays \
      as it is and its holders are named, unless --lazy detaches it: what is still open on it \
      works on until it is closed. mount/down ends the node too.
      """)

  @Flag(help: "Detach it, even if it is in use.")
  var lazy = false

  @OptionGroup var options: MountOptions

  @Argument(
    help: ArgumentHelp("The mount (default: where V is mounted).", valueName: "dir"),
    completion: .directory)
  var directory: String?

  func run() throws {
    let mounted = Mounts.all.filter { $0.type == "fuse.v" }.map(\.point)
    let point = directory.map(Self.absolute) ?? mounted.last ?? "/v"
    guard mounted.contains(point) else {
      options.show(UnmountReply(mount: point, isUnmounted: false, error: "not mounted"))
      throw Failure(status: .refused, description: "unmount \(point): V is not mounted there")
    }
    guard let error = unmount(point) else {
      throw Failure(
        status: .timeLimit,
        description: "unmount \(point): not done after \(options.timeout) s",
        remedy: "detach it: v unmount --lazy")
    }
    let holders = error == EBUSY ? Processes.holding(mount: point) : []
    options.show(
      UnmountReply(
        mount: point, isUnmounted: error == 0, error: error == 0 ? nil : errorText(error),
        holders: holders))
    guard error != 0 else { return }
    if error == EBUSY {
      let none = ["no process that is to be seen: perhaps a loop device or a swap file"]
      say(
        (["v: \(point) is held by"] + (holders.isEmpty ? none : holders).map { "  \($0)" })
          .joined(separator: "\n"), to: 2)
    }
    throw Failure(
      status: .refused, description: "unmount \(point): \(errorText(error))",
      remedy: error == EBUSY ? "end them, or detach it anyway: v unmount --lazy" : nil)
  }

  /// The error number, or nil if the system call does not end in time.
  private func unmount(_ point: String) -> Int32? {
    let flags = Int32(8) | (lazy ? 2 : 0)  // UMOUNT_NOFOLLOW, MNT_DETACH
    return Background.wait(seconds: options.timeout) {
      umount2(point, flags) == 0 ? 0 : errno
    }
  }

  /// Without touching the path: a mount may hang.
  private static func absolute(_ path: String) -> String {
    var parts: [Substring] = []
    let start = path.hasPrefix("/") ? "" : Files.link("/proc/self/cwd") ?? ""
    for part in "\(start)/\(path)".split(separator: "/") where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
  }
}
