import Glibc
import TOMLKit
import VAttach
import VRuntime
import VServers
import VTeamServer

/// What a node is told: `/etc/v/vnode.toml`, or the defaults where there is no file.
struct Configuration {
  struct Export {
    var prefix: String
    var path: String
    var isReadOnly = false
    /// `file:line` of its path.
    var place: String?
    /// Hosts that may use it; nil allows all.
    var allow: [String]?
    /// Hosts whose root is root here; `*` is every host.
    var root: [String] = []
    /// Hosts whose users without a name are those of the same number here; `*` is every host.
    var numbers: [String] = []
  }

  var host: String
  /// IPv4 address in dotted form; nil takes the first of a real interface, or none without key.
  var listen: String?
  var port = 61044
  var groupPort = 61045
  var keyFile: String?
  var mount: String? = "/v"
  /// Where processes of this host attach; nil where they may not.
  var socket: String? = defaultSocket
  /// The file names the socket: the node does not start without it.
  var mustHaveSocket = false
  var peers: [String] = []
  /// Which boards run inside the node; the others may run as processes of their own.
  var boards = ServerRegistry.usualNames
  /// Who of other hosts may start programs here: `USER@HOST`, `*` for all.
  var run: [String] = []
  /// As whom those of them run their programs who have no user here; nil lets them run none.
  var guestUser: String?
  /// Whether programs outlive a node that was killed.
  var keepsPrograms = true
  var exports: [Export]
  /// `file:line` of each key that the file has.
  private(set) var places: [String: String] = [:]

  /// The default: this host's name, `/srv/storage` served as `storage/<host>`.
  init(host: String) {
    self.host = host
    exports = [Export(prefix: "storage/\(host)", path: "/srv/storage", root: [host])]
  }
}

extension Configuration {
  /// What is wrong with the value of a key, and where it was set.
  func error(_ key: String, _ value: String, _ reason: String) -> ConfigurationError {
    let place = places[key].map { "\($0): " } ?? ""
    return ConfigurationError(description: "\(place)\(key) = \"\(value)\": \(reason)")
  }

  /// Every key with the value that holds, as the file would have it.
  var effectiveText: String {
    let address = (try? listenAddress(self))?.map(formatIPv4) ?? listen ?? ""
    var lines = [
      "host = \"\(host)\"", "listen = \"\(address)\"", "port = \(port)",
      "group_port = \(groupPort)", "key_file = \"\(keyFile ?? "")\"",
      "mount = \"\(mount ?? "")\"", "socket = \"\(socket ?? "")\"",
      "peers = [\(Self.list(peers))]", "boards = [\(Self.list(boards))]",
      "run = [\(Self.list(run))]", "guest_user = \"\(guestUser ?? "")\"",
      "programs = \"\(keepsPrograms ? "keep" : "end")\"",
    ]
    for export in exports {
      lines += [
        "[[export]]", "prefix = \"\(export.prefix)\"", "path = \"\(export.path)\"",
        "read_only = \(export.isReadOnly)", "root = [\(Self.list(export.root))]",
        "numbers = [\(Self.list(export.numbers))]",
      ]
      if let allow = export.allow { lines.append("allow = [\(Self.list(allow))]") }
    }
    return lines.joined(separator: "\n")
  }

  private static func list(_ texts: [String]) -> String {
    texts.map { "\"\($0)\"" }.joined(separator: ", ")
  }
}

/// What is wrong with a configuration: file, line, key and what is allowed.
struct ConfigurationError: Error, CustomStringConvertible {
  var description: String
}

extension Configuration {
  /// Reads a file; keys that it lacks keep their defaults, keys that do not exist are errors.
  init(file path: String, defaultHost: String) throws {
    let text = try readTextFile(path)
    let table: TOMLTable
    do {
      table = try TOMLTable(string: text)
    } catch let error as TOMLParseError {
      let at = error.source.begin
      throw ConfigurationError(
        description: "\(path):\(at.line):\(at.column): \(error.description)")
    }
    let reader = TableReader(path: path, text: text, table: table, name: nil)
    try reader.allowOnly([
      "host", "listen", "port", "group_port", "key_file", "mount", "socket", "peers", "boards",
      "run", "guest_user", "programs", "export",
    ])
    self.init(host: try reader.string("host") ?? defaultHost)
    for key in table.keys { places[key] = reader.place(key) }
    guard Self.isHostName(host) else {
      throw reader.error("host", "a name of letters, digits, '-', '_' and '.', at most 64 long")
    }
    if let listen = try reader.string("listen"), !listen.isEmpty { self.listen = listen }
    port = try reader.integer("port", in: 0...65_535) ?? port
    groupPort = try reader.integer("group_port", in: 1...65_535) ?? groupPort
    keyFile = try reader.string("key_file")
    if let mount = try reader.string("mount") { self.mount = mount.isEmpty ? nil : mount }
    if let socket = try reader.string("socket") {
      guard socket.isEmpty || socket.hasPrefix("/"), socket.utf8.count < Self.socketBytesMax else {
        throw reader.error("socket", "an absolute path of at most 107 octets, or empty for none")
      }
      self.socket = socket.isEmpty ? nil : socket
      mustHaveSocket = true
    }
    peers = try reader.strings("peers") ?? []
    boards = try reader.strings("boards") ?? boards
    guard boards.allSatisfy(ServerRegistry.usualNames.contains) else {
      throw reader.error("boards", "a list of some of \(Self.list(ServerRegistry.usualNames))")
    }
    run = try reader.strings("run") ?? run
    guard RunRules(run, host: host) != nil else {
      throw reader.error("run", "a list of USER@HOST, '*' for all users but root, or for all hosts")
    }
    if let guest = try reader.string("guest_user"), !guest.isEmpty {
      guard RunRules.canBeGuest(guest) else {
        throw reader.error("guest_user", "a user of this host, neither root nor nobody, or empty")
      }
      guestUser = guest
    }
    if let programs = try reader.string("programs") {
      guard ["keep", "end"].contains(programs) else {
        throw reader.error("programs", "\"keep\" or \"end\"")
      }
      keepsPrograms = programs == "keep"
    }
    if let tables = try reader.tables("export") {
      guard tables.count <= Self.exportsMax else {
        throw reader.error("export", "given at most \(Self.exportsMax) times")
      }
      exports = try tables.map { try Export(reading: $0) }
    }
  }

  /// Linux's room for the name of a local socket, with its end.
  private static let socketBytesMax = 108

  /// `/run/v/node.sock`, or that of the user who runs the node.
  private static var defaultSocket: String {
    guard geteuid() != 0, let directory = getenv("XDG_RUNTIME_DIR") else {
      return AttachFrame.socketPath
    }
    return "\(String(cString: directory))/v/node.sock"
  }

  /// As many as a host's directory tells others of, beside its other servers.
  private static let exportsMax = 64

  private static func isHostName(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 64 && name != "self" && name != "any"
      && name.utf8.allSatisfy { octet in
        let letter = octet | 0x20
        return (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(letter)
          || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
          || [UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ".")].contains(octet)
      }
  }
}

extension Configuration.Export {
  init(reading reader: TableReader) throws {
    try reader.allowOnly(["prefix", "path", "read_only", "allow", "root", "numbers"])
    guard let prefix = try reader.string("prefix") else {
      throw reader.missing("prefix", "a name such as \"storage/kea\"")
    }
    guard let path = try reader.string("path") else {
      throw reader.missing("path", "a directory of this host")
    }
    let parts = prefix.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && $0 != ".v" }) else {
      throw reader.error("prefix", "names separated by single '/', none of them '.', '..', '.v'")
    }
    guard path.hasPrefix("/") else { throw reader.error("path", "an absolute path") }
    self.prefix = prefix
    self.path = path
    place = reader.place("path")
    isReadOnly = try reader.boolean("read_only") ?? false
    allow = try reader.strings("allow")
    root = try reader.strings("root") ?? []
    numbers = try reader.strings("numbers") ?? []
  }
}

/// Reads the keys of one table and says where the file is wrong.
struct TableReader {
  var path: String
  var text: String
  var table: TOMLTable
  /// Which `[[name]]` of the file this is, and its number from 0; nil for the top.
  var name: (String, Int)?

  func allowOnly(_ keys: [String]) throws {
    for key in table.keys where !keys.contains(key) {
      throw ConfigurationError(
        description:
          "\(place(key)): unknown key '\(key)'; known are \(keys.joined(separator: ", "))")
    }
  }

  func string(_ key: String) throws -> String? {
    guard let value = table[key] else { return nil }
    guard let string = value.string else { throw error(key, "a string in quotes") }
    return string
  }

  func boolean(_ key: String) throws -> Bool? {
    guard let value = table[key] else { return nil }
    guard let boolean = value.bool else { throw error(key, "true or false") }
    return boolean
  }

  func integer(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let value = table[key] else { return nil }
    guard let number = value.int, range.contains(number) else {
      throw error(key, "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func strings(_ key: String) throws -> [String]? {
    guard let value = table[key] else { return nil }
    guard let array = value.array else { throw error(key, "a list of strings") }
    return try array.map { item in
      guard let string = item.string else { throw error(key, "a list of strings") }
      return string
    }
  }

  func tables(_ key: String) throws -> [TableReader]? {
    guard let value = table[key] else { return nil }
    guard let array = value.array else { throw error(key, "tables headed [[\(key)]]") }
    return try array.enumerated().map { index, item in
      guard let table = item.table else { throw error(key, "tables headed [[\(key)]]") }
      return TableReader(path: path, text: text, table: table, name: (key, index))
    }
  }

  func error(_ key: String, _ allowed: String) -> ConfigurationError {
    ConfigurationError(description: "\(place(key)): '\(key)' must be \(allowed)")
  }

  func missing(_ key: String, _ allowed: String) -> ConfigurationError {
    ConfigurationError(
      description: "\(place(nil)): [[\(name?.0 ?? "")]] lacks '\(key)', \(allowed)")
  }

  /// `file:line` of a key of this table, or of the table's head.
  func place(_ key: String?) -> String {
    var number = 0
    var seen = -1
    var head = 1
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      number += 1
      let words = line.split { $0 == " " || $0 == "\t" }
      let isHead = line.hasPrefix("[")
      if isHead {
        if let name { seen += line.hasPrefix("[[\(name.0)]]") ? 1 : 0 }
        if seen == name?.1 { head = number }
      }
      let isInside = name == nil || seen == name?.1
      if isInside, let key, words.first.map({ $0 == key || $0.hasPrefix(key + "=") }) == true {
        return "\(path):\(number)"
      }
    }
    return "\(path):\(head)"
  }
}

/// The whole of a small text file.
func readTextFile(_ path: String) throws -> String {
  let bytes = try readFile(path)
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw ConfigurationError(description: "\(path): not UTF-8 text")
  }
  return text
}

/// The octets of a file of at most 1 MB.
func readFile(_ path: String) throws -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else {
    throw ConfigurationError(description: "\(path): \(String(cString: strerror(errno)))")
  }
  defer { close(descriptor) }
  return try readAll(descriptor, path)
}

/// What is left to read of an open file of at most 1 MB.
func readAll(_ descriptor: Int32, _ path: String) throws -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: 1 << 20)
  var count = 0
  while count < bytes.count {
    let got = bytes.withUnsafeMutableBytes {
      read(descriptor, $0.baseAddress! + count, $0.count - count)
    }
    guard got >= 0 else {
      throw ConfigurationError(description: "\(path): \(String(cString: strerror(errno)))")
    }
    if got == 0 { return Array(bytes[..<count]) }
    count += got
  }
  throw ConfigurationError(description: "\(path): larger than 1 MB")
}
