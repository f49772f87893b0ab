import VFileServer
import VLinuxStore
import VNode
import VProtocol
import VRuntime
import VServers

/// The servers of the registry that run inside this node: those that its configuration names.
struct NodeServers {
  private let running: [RunningServer]

  /// Plugs them in; before the machine starts threads.
  init(_ node: Node, _ configuration: Configuration, _ users: LinuxUsers) throws {
    let options = configuration.serverOptions(users)
    running = try ServerRegistry.all.filter { configuration.boards.contains($0.name) }.map {
      try $0.prepare(options)(node)
    }
  }

  var prefixCount: Int { running.reduce(0) { $0 + $1.prefixes.count } }

  /// Claims every prefix; `told` gets each with the directory that it stands for, if it is one, and
  /// what became of it.
  func claim(
    in directory: EntityID,
    told: @escaping @Sendable (_ prefix: String, _ path: String?, ReplyCode) -> Void
  ) {
    for server in running {
      let paths = Dictionary(server.prefixes.map { ($0.prefix, $0.path) }) { $1 }
      server.claim(directory) { prefix, code in told(prefix, paths[prefix] ?? nil, code) }
    }
  }

  /// Tells them what a configuration says now.
  func change(_ options: ServerOptions) throws {
    for server in running { try server.change(options) }
  }

  /// Ends what was started here, and waits for that: programs keep the mount busy.
  func stop() { for server in running { server.end() } }
}

extension Configuration {
  /// What the servers of the registry are told.
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
