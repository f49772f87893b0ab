import Glibc
import TOMLKit
import VAttach
import VServers

/// The configuration of a node: `/etc/v/vnode.toml`, or the defaults without a file.
///
/// `ConfigurationKey` has its keys.
struct Configuration {
  struct Export: Equatable {
    var prefix = ""
    var path = ""
    var isReadOnly = false
    /// Hosts that may use it; nil allows all.
    var allow: [String]?
    /// Hosts whose root is root here; `*` is every host.
    var root: [String] = []
    /// Hosts whose users without a name are those of the same number here; `*` is every host.
    var numbers: [String] = []
    /// `file:line` of its path.
    var place: String?
  }

  var host: String
  /// The one address that the node uses; nil for all of the host, or none without key.
  var listen: String?
  var port = 61044
  var groupPort = 61045
  var keyFile: String?
  var mount: String? = "/v"
  /// Where processes of this host attach; nil if they cannot.
  var socket: String? = defaultSocket
  /// Whether the file names the socket: then the node does not start without it.
  var mustHaveSocket = false
  var peers: [String] = []
  /// The servers that run inside the node; the others may run as processes of their own.
  var servers = ServerRegistry.usualNames
  /// Users of other hosts who may start programs here: `USER@HOST`, `*` for all.
  var run: [String] = []
  /// The user that runs the programs of guests; nil if they may run none.
  var guestUser: String?
  /// Whether programs outlive a node that was killed.
  var keepsPrograms = true
  /// After so many days, names of silent hosts are forgotten.
  var forgetDays = 30
  /// The least severe level that is logged.
  var logLevel = LogLevel.info
  var exports: [Export]
  /// `file:line` of each key that the file has.
  private(set) var places: [String: String] = [:]

  /// The default: this host's name, `/srv/storage` served as `storage/<host>`.
  init(host: String) {
    self.host = host
    exports = [Export(prefix: "storage/\(host)", path: "/srv/storage", root: [host])]
  }

  /// `/run/v/node.sock`, or that of the user who runs the node.
  private static var defaultSocket: String {
    guard geteuid() != 0, let directory = getenv("XDG_RUNTIME_DIR") else {
      return AttachFrame.socketPath
    }
    return "\(String(cString: directory))/v/node.sock"
  }
}

extension Configuration {
  /// Reads a file; missing keys keep their defaults, unknown keys are errors.
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
    let keys = ConfigurationKey<Configuration>.all
    try reader.allowOnly(keys.map(\.name) + ["export"])
    self.init(host: defaultHost)
    for key in table.keys { places[key] = reader.place(key) }
    for key in keys {
      try key.read(reader, &self)
      // An export without a table of its own is named by the host.
      if key.name == "host" { exports = Configuration(host: host).exports }
    }
    if let tables = try reader.tables("export") { try readExports(tables, reader) }
  }

  private mutating func readExports(_ tables: [TableReader], _ reader: TableReader) throws {
    guard tables.count <= Self.exportsMax else {
      throw reader.error("export", "given at most \(Self.exportsMax) times")
    }
    exports = []
    for table in tables {
      let keys = ConfigurationKey<Export>.all
      try table.allowOnly(keys.map(\.name))
      var export = Export(place: table.place("path"))
      for key in keys { try key.read(table, &export) }
      guard !exports.contains(where: { $0.prefix == export.prefix }) else {
        throw table.error("prefix", "of one export alone")
      }
      exports.append(export)
    }
  }

  /// As many as a host's directory spreads, beside the claims of its other servers.
  private static let exportsMax = 64

  /// The error in the value of a key, with the place where it was set.
  func error(_ key: String, _ value: String, _ reason: String) -> ConfigurationError {
    let place = places[key].map { "\($0): " } ?? ""
    return ConfigurationError(description: "\(place)\(key) = \"\(value)\": \(reason)")
  }

  /// Every key with its value in effect, as in a file.
  var effectiveText: String {
    var lines = ConfigurationKey<Configuration>.all.map { $0.line(of: self) }
    for export in exports {
      lines += ["[[export]]"] + ConfigurationKey<Export>.all.map { $0.line(of: export) }
    }
    return lines.joined(separator: "\n")
  }
}
