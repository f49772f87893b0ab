import ArgumentParser
import Glibc
import Synchronization
import VAttach
import VDirectory
import VKernelServers
import VLinuxStore
import VMount
import VNode
import VObjects
import VProtocol
import VRuntime

/// The daemon of one host: message kernel, transport, object managers and the mount.
@main
struct Vnode: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vnode",
    abstract: "Runs the V node of this host.",
    discussion: """
      Example: vnode --config /etc/v/vnode.toml

      Without a configuration file it serves /srv/storage to this machine alone and mounts /v.
      SIGTERM or SIGINT ends it cleanly.
      """,
    version: "0.1 (VMTP domain 0x1045)")

  @Option(help: "The configuration file (default: /etc/v/vnode.toml, if there is one).")
  var config: String?

  @Flag(help: "Check the configuration and exit.")
  var checkConfig = false

  @Flag(help: "Print every key of the configuration with the value that holds, and exit.")
  var effectiveConfig = false

  func run() throws {
    let configuration: Configuration
    do {
      configuration = try load()
      if effectiveConfig { return print(configuration.effectiveText) }
      if checkConfig {
        try check(configuration)
        print("vnode: the configuration is good")
        return
      }
    } catch let error as ConfigurationError {
      throw failure("\(error)")
    }
    // Clients apply their own umask; the manager makes what it is told to.
    umask(0)
    raiseDescriptorLimit()
    // Before any thread exists: only the main thread takes these signals.
    let signals = blockSignals()
    do {
      let running = try Running(configuration)
      say("ready: \(running.summary)")
      notifySupervisor("READY=1\nSTATUS=\(running.summary)")
      waitForSignal(signals)
      say("ending")
      notifySupervisor("STOPPING=1")
      running.stop()
    } catch {
      throw failure("\(configuration.host): \(error)")
    }
  }

  private func load() throws -> Configuration {
    let path = config ?? "/etc/v/vnode.toml"
    if config == nil && access(path, F_OK) != 0 { return Configuration(host: localHostName()) }
    return try Configuration(file: path, defaultHost: localHostName())
  }

  private func failure(_ text: String) -> ExitCode {
    say(text)
    return .failure
  }
}

/// The parts of a node at work.
struct Running {
  let summary: String
  private let node: Node
  private let mount: Mount?
  private let directory: Directory
  private let servers: NodeServers
  private let attachServer: AttachServer?
  private let kernelServers: KernelServers

  init(_ configuration: Configuration) throws {
    let address = try listenAddress(configuration)
    let secret = try readKey(configuration)
    let peers = try peerAddresses(configuration)
    let machine =
      try address.map {
        try LinuxMachine(
          address: $0, port: UInt16(configuration.port),
          groupPort: UInt16(configuration.groupPort), peers: peers)
      } ?? LinuxMachine()
    let node = Node(host: configuration.host, machine: machine, secret: secret)
    self.node = node
    let users = LinuxUsers()
    let nodeUsers = NodeUsers(table: users, backplane: node)
    let servers = try NodeServers(node, configuration, users)
    self.servers = servers
    machine.run(node)
    if node.isSealing { Self.settleName(of: node) }
    let directory = Directory(node, store: claimStore(in: Self.stateDirectory)) {
      node.makeServer(discriminator: EntityID.directoryDiscriminator, knowsPrincipals: true, $0)
    }
    self.directory = directory
    // Every host has one more: what its kernel servers show.
    let unclaimed = Mutex(servers.prefixCount + 1)
    @Sendable func noteClaim(of prefix: String, _ path: String?, _ code: ReplyCode) {
      unclaimed.withLock { $0 -= 1 }
      guard !code.isOK else { return }
      let holder = code == .duplicateName ? directory.holder(of: Array(prefix.utf8)) : nil
      let place = path.map { " from \($0)" } ?? ""
      say("\(prefix) is not served\(place): \(code)\(holder.map { ", by \($0)" } ?? "")")
    }
    servers.claim(in: directory.server) { noteClaim(of: $0, $1, $2) }
    let place = address.map { "\(formatIPv4($0)):\(machine.port ?? 0)" }
    let attachServer = try Self.listen(node, configuration, nodeUsers, directory)
    self.attachServer = attachServer
    kernelServers = KernelServers(
      node, address: place ?? "-", managers: { directory.managers }
    ) {
      NodeSnapshot(
        node, machine,
        configuredPeers: peers.map { "\(formatIPv4($0.address)):\($0.port)" },
        attached: attachServer)
    }
    kernelServers.tree.manager.claim(in: directory.server) {
      noteClaim(of: "host/\(configuration.host)", nil, $0)
    }
    // Ready means that this host's own names are there; a claim takes half a second, or the 2 s
    // more in which a host that had the prefix falls silent.
    for _ in 0..<300 where unclaimed.withLock({ $0 > 0 }) { usleep(10_000) }
    directory.withdrawEarlierClaims()
    node.watchName { [weak node] holder in
      guard let node else { return }
      Self.tell(holder.map { "\($0.locator)" }, of: node)
      // What is claimed here is news to the others.
      if holder == nil { directory.withdrawEarlierClaims() }
    }
    let clients = ClientPool(node)
    let names = NameCache(node, clients: clients)
    mount = try configuration.mount.map { path in
      try Mount(
        node, directory.nameSpace, mountPoint: path, source: configuration.host,
        names: names, clients: clients, users: nodeUsers,
        serveOwnFiles: { ownFiles(node, names, uio: $0) })
    }
    summary =
      configuration.host + (place.map { " at \($0), sealed" } ?? " alone, no key")
      + (configuration.mount.map { ", mounted on \($0)" } ?? "")
      + (node.nameHolder.map { "; \($0.locator) has its name, so it is alone" } ?? "")
  }

  /// Waits until it is known whether another live node has this host's name: before anything is
  /// claimed, and before anything is asked of others in this host's name.
  ///
  /// Who has it answers an announcement within some milliseconds; three more of them are for
  /// packets that are lost.
  private static func settleName(of node: Node) {
    node.watchName { [weak node] holder in
      if let node { tell(holder.map { "\($0.locator)" }, of: node) }
    }
    for _ in 0..<4 {
      node.announce()
      for _ in 0..<10 where node.nameHolder == nil { usleep(10_000) }
    }
  }

  /// `holder` is where the node is that has this host's name.
  private static func tell(_ holder: String?, of node: Node) {
    guard let holder else {
      return say("the name \(node.host) is free again: this host is seen by others from now on")
    }
    say(
      "\(holder) has the name \(node.host) too, and had it before: this host is alone, "
        + "with its own /v, until that node ends; give one of both another name")
  }

  func stop() {
    servers.stop()
    mount?.unmount()
    attachServer?.close()
  }

  /// Where the node keeps what it would miss after a restart.
  private static let stateDirectory = "/var/lib/v"

  /// Where only the default path cannot be used, the node does without.
  private static func listen(
    _ node: Node, _ configuration: Configuration, _ users: NodeUsers, _ directory: Directory
  ) throws -> AttachServer? {
    guard let path = configuration.socket else { return nil }
    do throws(AttachServerError) {
      return try AttachServer(node, kernel: node.id, path: path, users: users) {
        directory.probeManagers()
      }
    } catch {
      if configuration.mustHaveSocket { throw error }
      say("\(error); no process can attach to this node")
      return nil
    }
  }
}

/// The cluster key, if there is one: the octets of a file of root's, or of the user who runs the
/// node, that nobody else may read.
func readKey(_ configuration: Configuration) throws -> [UInt8]? {
  guard let path = configuration.keyFile else { return nil }
  func error(_ reason: String) -> ConfigurationError {
    configuration.error("key_file", path, reason)
  }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { throw error(String(cString: strerror(errno))) }
  defer { close(descriptor) }
  // Of what was opened: the path may lead elsewhere by now.
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw error(String(cString: strerror(errno))) }
  if let refusal = ClusterKeyFile.refusal(
    path: path, mode: status.st_mode, owner: status.st_uid, user: geteuid())
  {
    throw error(refusal)
  }
  guard let key = try? readAll(descriptor, path) else {
    throw error("can not be read, or is no file")
  }
  guard key.count >= 16 else {
    throw error("\(key.count) octets; a cluster key has at least 16")
  }
  return key
}

/// One line on standard error.
func say(_ text: String) {
  let line = "vnode: \(text)\n"
  _ = line.withCString { write(2, $0, strlen($0)) }
}
