import VFileServer
import VLinuxStore
import VNode
import VProtocol
import VRuntime
import VServers

/// The servers of the registry that run inside this node, as its configuration lists them.
struct NodeServers {
  private let running: [RunningServer]

  /// Makes them; before the machine starts threads.
  init(_ node: Node, _ configuration: Configuration, _ users: LinuxUsers) throws {
    let options = configuration.serverOptions(users)
    running = try ServerRegistry.all.filter { configuration.servers.contains($0.name) }.map {
      try $0.prepare(options)(node)
    }
  }

  var prefixCount: Int { running.reduce(0) { $0 + $1.prefixes.count } }

  /// Claims every prefix; `told` gets each with its directory, if it has one, and the result.
  func claim(
    in directory: EntityID,
    told: @escaping @Sendable (_ prefix: String, _ path: String?, ReplyCode) -> Void
  ) {
    for server in running {
      let paths = Dictionary(server.prefixes.map { ($0.prefix, $0.path) }) { $1 }
      server.claim(directory) { prefix, code in told(prefix, paths[prefix] ?? nil, code) }
    }
  }

  /// Applies a changed configuration.
  func change(_ options: ServerOptions) throws {
    for server in running { try server.change(options) }
  }

  /// Ends everything that they started, and waits for that: programs keep the mount busy.
  func stop() { for server in running { server.end() } }
}

extension Configuration {
  /// The options for the servers of the registry.
  func serverOptions(_ users: LinuxUsers) -> ServerOptions {
    var options = ServerOptions(users: users)
    options.exports = exports.map { export in
      VFileServer.Export(
        prefix: Array(export.prefix.utf8), path: export.path, isReadOnly: export.isReadOnly,
        allowedHosts: export.allow, rootHosts: export.root, numberHosts: export.numbers)
    }
    options.run = run
    options.guestUser = guestUser
    options.keepsPrograms = keepsPrograms
    return options
  }
}
