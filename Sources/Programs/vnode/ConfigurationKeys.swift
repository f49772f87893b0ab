import VAttach
import VProtocol
import VServers
import VTeamServer

/// One key of the configuration, of the file or of an export: how it is read, shown and changed.
///
/// A new key goes into `all`, `config/vnode.toml` and `mount/vnode.toml.5`; a test compares them.
struct ConfigurationKey<Subject> {
  let name: String
  /// Whether a running node applies a change of it.
  let isLive: Bool
  /// Reads its value from a table, or throws what is allowed.
  let read: (TableReader, inout Subject) throws -> Void
  /// The value in effect, as TOML; nil if only a missing key can express it.
  let show: (Subject) -> String?

  init(
    _ name: String, isLive: Bool = false,
    read: @escaping (TableReader, inout Subject) throws -> Void,
    show: @escaping (Subject) -> String?
  ) {
    self.name = name
    self.isLive = isLive
    self.read = read
    self.show = show
  }

  /// A line of a file; a comment if there is no value.
  func line(of subject: Subject) -> String {
    show(subject).map { "\(name) = \($0)" } ?? "# \(name) is not set"
  }

  /// A key whose value is a list of strings.
  static func list(
    _ name: String, isLive: Bool = false, _ path: WritableKeyPath<Subject, [String]>,
    _ allowed: String = "", where isGood: @escaping ([String], Subject) -> Bool = { _, _ in true }
  ) -> Self {
    Self(name, isLive: isLive) { reader, subject in
      guard let list = try reader.strings(name) else { return }
      guard isGood(list, subject) else { throw reader.error(name, allowed) }
      subject[keyPath: path] = list
    } show: {
      TOML.list($0[keyPath: path])
    }
  }
}

extension ConfigurationKey<Configuration> {
  /// In the order in which they are read: the rules of `run` name the host.
  static var all: [Self] {
    [
      host, listen, port, groupPort, keyFile, mount, socket, peers, servers, run, guestUser,
      programs, forgetDays, log,
    ]
  }

  private static var host: Self {
    Self("host") { reader, configuration in
      let allowed = "a name of letters, digits, '-', '_' and '.', at most 64 long"
      configuration.host =
        try reader.string("host", allowed, where: isHostName) ?? configuration.host
      guard isHostName(configuration.host) else { throw reader.error("host", allowed) }
    } show: {
      TOML.string($0.host)
    }
  }

  private static var listen: Self {
    Self("listen") { reader, configuration in
      configuration.listen = try reader.string("listen").flatMap { $0.isEmpty ? nil : $0 }
    } show: {
      TOML.string($0.listen ?? "")
    }
  }

  private static var port: Self {
    Self("port") { reader, configuration in
      configuration.port = try reader.integer("port", in: 0...65_535) ?? configuration.port
    } show: {
      "\($0.port)"
    }
  }

  private static var groupPort: Self {
    Self("group_port") { reader, configuration in
      configuration.groupPort =
        try reader.integer("group_port", in: 1...65_535) ?? configuration.groupPort
      guard configuration.groupPort != configuration.port else {
        throw reader.error("group_port", "another one than port")
      }
    } show: {
      "\($0.groupPort)"
    }
  }

  private static var keyFile: Self {
    Self("key_file") { reader, configuration in
      configuration.keyFile = try reader.string("key_file").flatMap { $0.isEmpty ? nil : $0 }
    } show: {
      TOML.string($0.keyFile ?? "")
    }
  }

  private static var mount: Self {
    Self("mount") { reader, configuration in
      let allowed = "the absolute path of a directory, without '.' and '..', or empty for none"
      guard let path = try reader.string("mount") else { return }
      configuration.mount = nil
      guard !path.isEmpty else { return }
      let parts = path.split(separator: "/")
      guard path.hasPrefix("/"), !parts.isEmpty, !parts.contains("."), !parts.contains(".."),
        !path.utf8.contains(0)
      else { throw reader.error("mount", allowed) }
      configuration.mount = "/" + parts.joined(separator: "/")
    } show: {
      TOML.string($0.mount ?? "")
    }
  }

  private static var socket: Self {
    Self("socket") { reader, configuration in
      let path = try reader.string(
        "socket", "an absolute path of at most 107 octets, or empty for none"
      ) { $0.isEmpty || $0.hasPrefix("/") && $0.utf8.count < socketBytesMax }
      guard let path else { return }
      configuration.socket = path.isEmpty ? nil : path
      configuration.mustHaveSocket = true
    } show: {
      TOML.string($0.socket ?? "")
    }
  }

  /// Linux's room for the name of a local socket, with its end.
  private static var socketBytesMax: Int { 108 }

  private static var peers: Self {
    .list("peers", isLive: true, \.peers, "at most \(peersMax) addresses") { list, _ in
      list.count <= peersMax
    }
  }

  /// Each gets a copy of every multicast.
  private static var peersMax: Int { 256 }

  private static var servers: Self {
    let all = ServerRegistry.usualNames
    return .list("servers", \.servers, "a list of some of \(TOML.items(all))") { list, _ in
      list.allSatisfy(all.contains)
    }
  }

  private static var run: Self {
    .list(
      "run", isLive: true, \.run,
      "a list of USER@HOST, '*' for all users but root, or for all hosts"
    ) { list, configuration in
      RunRules(list, host: configuration.host) != nil
    }
  }

  private static var guestUser: Self {
    Self("guest_user", isLive: true) { reader, configuration in
      let guest = try reader.string(
        "guest_user", "a user of this host, neither root nor nobody, or empty"
      ) { $0.isEmpty || RunRules.canBeGuest($0) }
      configuration.guestUser = guest.flatMap { $0.isEmpty ? nil : $0 }
    } show: {
      TOML.string($0.guestUser ?? "")
    }
  }

  private static var programs: Self {
    Self("programs") { reader, configuration in
      let programs = try reader.string("programs", "\"keep\" or \"end\"") {
        ["keep", "end"].contains($0)
      }
      configuration.keepsPrograms = programs != "end"
    } show: {
      TOML.string($0.keepsPrograms ? "keep" : "end")
    }
  }

  private static var forgetDays: Self {
    Self("forget_days", isLive: true) { reader, configuration in
      configuration.forgetDays =
        try reader.integer("forget_days", in: 1...3650) ?? configuration.forgetDays
    } show: {
      "\($0.forgetDays)"
    }
  }

  private static var log: Self {
    Self("log", isLive: true) { reader, configuration in
      let levels = LogLevel.allCases.map(\.rawValue)
      let level = try reader.string("log", "one of \(TOML.items(levels))", where: levels.contains)
      configuration.logLevel = level.flatMap { LogLevel(rawValue: $0) } ?? configuration.logLevel
    } show: {
      TOML.string($0.logLevel.rawValue)
    }
  }

  private static func isHostName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 64 && !["self", "any", QueryTeam.linksName].contains(name)
      && name.utf8.allSatisfy { octet in
        let letter = octet | 0x20
        return (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter)
          || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
          || [UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ".")].contains(octet)
      }
  }
}

extension ConfigurationKey<Configuration.Export> {
  static var all: [Self] {
    [
      prefix, path, readOnly, allow, .list("root", isLive: true, \.root),
      .list("numbers", isLive: true, \.numbers),
    ]
  }

  private static var prefix: Self {
    Self("prefix", isLive: true) { reader, export in
      let prefix = try reader.string(
        "prefix", "names separated by single '/', none of them '.', '..', '.v'"
      ) {
        $0.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
          !part.isEmpty && part != "." && part != ".." && part != ".v"
        }
      }
      guard let prefix else { throw reader.missing("prefix", "a name such as \"storage/kea\"") }
      export.prefix = prefix
    } show: {
      TOML.string($0.prefix)
    }
  }

  private static var path: Self {
    Self("path", isLive: true) { reader, export in
      let path = try reader.string("path", "an absolute path") { $0.hasPrefix("/") }
      guard let path else { throw reader.missing("path", "a directory of this host") }
      export.path = path
    } show: {
      TOML.string($0.path)
    }
  }

  private static var readOnly: Self {
    Self("read_only", isLive: true) { reader, export in
      export.isReadOnly = try reader.boolean("read_only") ?? false
    } show: {
      "\($0.isReadOnly)"
    }
  }

  private static var allow: Self {
    Self("allow", isLive: true) { reader, export in
      export.allow = try reader.strings("allow")
    } show: {
      $0.allow.map(TOML.list)
    }
  }
}

/// Values in TOML's syntax.
enum TOML {
  static func list(_ texts: [String]) -> String { "[\(items(texts))]" }

  static func items(_ texts: [String]) -> String {
    texts.map(string).joined(separator: ", ")
  }

  static func string(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": result += "\\\(scalar)"
      case _ where scalar.value < 0x20 || scalar.value == 0x7f:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
