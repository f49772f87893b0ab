/// The text that is written to a host's `team/HOST/new` to start a program there.
///
/// ```
/// length: OCTETS          where it is too long for one message
/// dir: PATH
/// class: guest
/// attached: yes
/// wait: SECONDS
/// terminal: ROWS COLUMNS
/// umask: 027
/// group: NAME
/// env: NAME=VALUE         as often as needed
///
/// ARGUMENT NUL ARGUMENT NUL ...
/// ```
public struct RunRequest: Equatable, Sendable {
  /// At least one.
  public var arguments: [[UInt8]]
  /// `NAME=VALUE` each.
  public var environment: [[UInt8]] = []
  /// Absolute; nil leaves it to the host.
  public var directory: [UInt8]?
  public var programClass = "foreground"
  /// Whether the program ends with its starter.
  public var isAttached = false
  /// How many seconds an attached program goes on while its starter's host is silent.
  public var waitSeconds = 0
  public var terminal: TerminalSize?
  /// As umask(2); nil leaves it to the host.
  public var umask: UInt32?
  public var group: String?

  public init(_ arguments: [[UInt8]]) {
    precondition(!arguments.isEmpty, "a program has a name")
    self.arguments = arguments
  }

  /// A day.
  public static let waitSecondsMax = 86_400

  /// A directory's path is shorter, as all that Linux takes.
  public static let pathBytesMax = 4096

  /// Octets that one message takes; a request that has more says first how many.
  public static let messageBytesMax = 16_383

  /// The request as it is written.
  public var octets: [UInt8] {
    // There is always a header: a command alone could look like one.
    var lines = [Array("class: \(programClass)".utf8)]
    // A path can have newlines, a line not, or be too long: then the host chooses.
    if let directory, !directory.contains(Self.newline), directory.count < Self.pathBytesMax {
      lines.append(Array("dir: ".utf8) + directory)
    }
    if isAttached { lines.append(Array("attached: yes".utf8)) }
    if waitSeconds > 0 { lines.append(Array("wait: \(waitSeconds)".utf8)) }
    if let terminal { lines.append(Array("terminal: \(terminal.text)".utf8)) }
    if let umask { lines.append(Array("umask: \(String(umask, radix: 8))".utf8)) }
    if let group { lines.append(Array("group: \(group)".utf8)) }
    lines += environment.map { Array("env: ".utf8) + Self.escaped($0) }
    var text: [UInt8] = []
    for line in lines { text += line + [Self.newline] }
    text.append(Self.newline)
    for argument in arguments { text += argument + [0] }
    if text.count <= Self.messageBytesMax { return text }
    return Self.withLength(text)
  }

  /// Puts a line in front with the length of everything, that line included.
  private static func withLength(_ text: [UInt8]) -> [UInt8] {
    var length = text.count
    while true {
      let line = Array("length: \(length)\n".utf8)
      if line.count + text.count == length { return line + text }
      length = line.count + text.count
    }
  }

  private static func escaped(_ variable: [UInt8]) -> [UInt8] {
    variable.flatMap { octet -> [UInt8] in
      switch octet {
      case newline: Array(#"\n"#.utf8)
      case UInt8(ascii: "\\"): Array(#"\\"#.utf8)
      default: [octet]
      }
    }
  }

  private static let newline = UInt8(ascii: "\n")
}

/// The variables that go along with a program: not those of a user's account or session on one
/// host, of places on its disk, or of descriptors of a process there.
public enum CarriedEnvironment {
  /// Of `NAME=VALUE`.
  public static func carries(_ variable: [UInt8]) -> Bool {
    guard let equals = variable.firstIndex(of: UInt8(ascii: "=")), equals > 0 else { return false }
    let name = String(decoding: variable[..<equals], as: UTF8.self)
    return !names.contains(name) && !prefixes.contains { name.hasPrefix($0) }
  }

  private static let names: Set = [
    "HOME", "USER", "LOGNAME", "SHELL", "MAIL", "PWD", "OLDPWD", "HOSTNAME", "SHLVL", "_",
    "LINES", "COLUMNS", "WINDOWID", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_TTY", "TMUX",
    "TMUX_PANE", "STY", "TMPDIR", "MAKEFLAGS", "MFLAGS", "GNUMAKEFLAGS", "NOTIFY_SOCKET",
    "JOURNAL_STREAM", "INVOCATION_ID", "V_SOCKET",
  ]
  /// Variables of the session, of a remote login, and of the loader.
  private static let prefixes = ["XDG_", "SSH_", "DBUS_", "SUDO_", "LISTEN_", "LD_"]
}
