import ArgumentParser
import Glibc
import Synchronization
import VAttach
import VClient
import VDirectory
import VKeeping
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

  @Option(
    name: .customLong("log"),
    help: ArgumentHelp(
      "Log to this file, renamed to PATH.1 at 4 MB (default: to standard error, or the journal).",
      valueName: "path"))
  var logFile: String?

  @Option(
    help: ArgumentHelp(
      "Record all that enters the message kernel, users' data too, in this new file, for replay.",
      valueName: "path"))
  var record: String?

  func run() throws {
    var configuration: Configuration
    do {
      configuration = try load()
      if effectiveConfig { return print(configuration.effectiveText) }
      if checkConfig {
        for warning in try check(configuration) { say("warning: \(warning)") }
        print("vnode: the configuration is good")
        return
      }
      try LogOutput.shared.start(path: logFile)
    } catch let error as ConfigurationError {
      say("\(error)")
      throw ExitCode.failure
    }
    LogOutput.shared.level = configuration.logLevel.loggerLevel
    // Clients apply their own umask; the manager makes objects as requested.
    umask(0)
    raiseDescriptorLimit()
    // Before any thread exists: only the main thread takes these signals.
    let signals = blockSignals()
    do {
      let running = try Running(configuration, recording: record.map(RecordingFile.init(path:)))
      log.info("ready: \(running.summary)")
      notifySupervisor("READY=1\nSTATUS=\(running.summary)")
      while waitForSignal(signals) == SIGHUP { reload(running, &configuration) }
      log.info("ending")
      notifySupervisor("STOPPING=1")
      running.stop()
    } catch {
      log.error("\(configuration.host): \(error)")
      throw ExitCode.failure
    }
  }

  private func load() throws -> Configuration {
    let path = config ?? "/etc/v/vnode.toml"
    if config == nil && access(path, F_OK) != 0 { return Configuration(host: localHostName()) }
    return try Configuration(file: path, defaultHost: localHostName())
  }

  /// Reads the file again; one with an error changes nothing.
  private func reload(_ running: Running, _ configuration: inout Configuration) {
    notifySupervisor("RELOADING=1\nMONOTONIC_USEC=\(monotonicMicroseconds())")
    defer { notifySupervisor("READY=1") }
    do {
      let new = try load()
      for warning in try check(new) { log.warning("\(warning)") }
      try running.change(from: configuration, to: new)
      configuration.takeLiveKeys(of: new)
    } catch {
      log.error("the configuration stays as it was: \(error)")
    }
  }
}

/// The parts of a running node.
final class Running {
  let summary: String
  private let node: Node
  private let mount: Mount?
  private let directory: Directory
  private let servers: NodeServers
  private let attachServer: AttachServer?
  private let kernelServers: KernelServers
  private let machine: LinuxMachine
  private let users: LinuxUsers
  private let shownPeers: ShownPeers

  init(_ configuration: Configuration, recording: RecordingFile?) throws {
    let named = try namedAddress(configuration)
    let secret = try readKey(configuration)
    let peers = try peerAddresses(configuration)
    let machine = try Self.machine(named, configuration)
    self.machine = machine
    let shownPeers = ShownPeers(peers)
    self.shownPeers = shownPeers
    let node = Node(
      host: configuration.host, machine: machine, secret: secret, recorder: recording?.append)
    self.node = node
    node.setPeers(peers)
    let users = LinuxUsers()
    self.users = users
    let nodeUsers = NodeUsers(table: users, backplane: node)
    let servers = try NodeServers(node, configuration, users)
    self.servers = servers
    machine.run(node)
    if node.isSealing { Self.settleName(of: node) }
    let directory = Directory(
      node, store: claimStore(in: Self.stateDirectory), note: { log.warning("\($0)") }
    ) {
      node.makeServer(discriminator: EntityID.directoryDiscriminator, knowsPrincipals: true, $0)
    }
    self.directory = directory
    // Every host has one more prefix: that of its kernel servers.
    let claims = ClaimNotes(servers.prefixCount + 1, directory)
    directory.setForgetting(after: .seconds(Int64(configuration.forgetDays) * 86_400))
    servers.claim(in: directory.server) { claims.note($0, $1, $2) }
    let priorities = ProcessPriorities(HostResources())
    let priority: @Sendable (Int32) -> Priority = { [unowned node] process in
      priorities.priority(of: process, at: node.now)
    }
    let attachServer = try Self.listen(node, configuration, nodeUsers, priority, directory)
    self.attachServer = attachServer
    kernelServers = KernelServers(
      node, addresses: machine.places.map { "\($0)" }, managers: { directory.managers },
      names: { Self.processNames(directory, attachServer, of: node.id) }
    ) {
      NodeSnapshot(
        node, machine, configuredPeers: shownPeers.texts, attached: attachServer)
    }
    kernelServers.tree.manager.claim(in: directory.server) {
      claims.note("host/\(configuration.host)", nil, $0)
    }
    // The node is ready when this host's own names exist. A claim takes half a second, or 2 s more
    // if a host that had the prefix is silent.
    for _ in 0..<300 where claims.left > 0 { usleep(10_000) }
    directory.withdrawEarlierClaims()
    node.watchName { [weak node] holder in
      guard let node else { return }
      Self.tell(holder.map { "\($0.locator)" }, of: node)
      // The claims that were made here are new to the others.
      if holder == nil { directory.withdrawEarlierClaims() }
    }
    Self.followNetworks(of: machine, directory)
    let clients = ClientPool(node, of: .mount)
    let names = NameCache(node, clients: clients)
    mount = try configuration.mount.map { path in
      try Mount(
        node, directory.nameSpace, mountPoint: mountPoint(path), source: configuration.host,
        names: names, clients: clients, users: nodeUsers, priority: priority,
        serveOwnFiles: { ownFiles(node, directory, names, uio: $0) })
    }
    let place = machine.places.first.map { "at \($0)" } ?? "on no network yet"
    summary =
      configuration.host + (node.isSealing ? " \(place), sealed" : " alone, no key")
      + (configuration.mount.map { ", mounted on \($0)" } ?? "")
      + (node.nameHolder.map { "; \($0.locator) has its name, so it is alone" } ?? "")
  }

  /// Tells the log and the other hosts when this host has other networks or addresses.
  private static func followNetworks(of machine: LinuxMachine, _ directory: Directory) {
    machine.watchNetworks { [weak machine, weak directory] in
      let places = machine?.places.map { "\($0)" }.joined(separator: ", ") ?? ""
      log.info("network: \(places.isEmpty ? "none now" : "now at \(places)")")
      // Hosts that were not reached before have not heard the claims of this one.
      directory?.withdrawEarlierClaims()
    }
  }

  /// What people call the processes of this node: the prefixes that they serve, and the Linux
  /// processes that they belong to.
  private static func processNames(
    _ directory: Directory, _ attached: AttachServer?, of kernel: KernelID
  ) -> [EntityID: String] {
    (attached?.programs ?? [:])
      .merging(directory.prefixesOfManagers) { program, prefixes in "\(program),\(prefixes)" }
      .merging([directory.server: "directory", .nodeServer(of: kernel): "node"]) { $1 }
  }

  /// With sockets, or without them if there is no cluster key.
  private static func machine(
    _ named: IPAddress?, _ configuration: Configuration
  ) throws -> LinuxMachine {
    guard configuration.keyFile != nil else { return try LinuxMachine() }
    return try LinuxMachine(
      named: named, port: UInt16(configuration.port),
      groupPort: UInt16(configuration.groupPort))
  }

  /// Waits until it is known whether another live node has this host's name: before anything is
  /// claimed, or sent in this host's name.
  ///
  /// A node with the name answers an announcement within some milliseconds; three more
  /// announcements are for lost packets.
  private static func settleName(of node: Node) {
    node.watchName { [weak node] holder in
      if let node { tell(holder.map { "\($0.locator)" }, of: node) }
    }
    for _ in 0..<4 {
      node.announce()
      for _ in 0..<10 where node.nameHolder == nil { usleep(10_000) }
    }
  }

  /// `holder` is the address of the node that has this host's name.
  private static func tell(_ holder: String?, of node: Node) {
    guard let holder else {
      return log.info("the name \(node.host) is free again: this host is seen by others now")
    }
    log.error(
      """
      \(holder) has the name \(node.host) too, and had it before: this host is alone, with its own \
      /v, until that node ends; give one of both another name
      """)
  }

  /// Applies the changes that a running node can, and logs the others.
  func change(from old: Configuration, to new: Configuration) throws {
    let changes = old.changes(to: new)
    for change in changes where !change.isLive {
      log.warning("\(change.text): taken up when the node starts anew")
    }
    let peers = try peerAddresses(new)
    try servers.change(new.serverOptions(users))
    node.setPeers(peers)
    shownPeers.set(peers)
    directory.setForgetting(after: .seconds(Int64(new.forgetDays) * 86_400))
    LogOutput.shared.level = new.logLevel.loggerLevel
    for change in changes where change.isLive { log.info("\(change.text)") }
    // New peers hear of this host at once.
    if old.peers != new.peers {
      node.announce()
      directory.withdrawEarlierClaims()
    }
  }

  func stop() {
    servers.stop()
    mount?.unmount()
    attachServer?.close()
  }

  /// The directory for state that the node needs after a restart.
  private static let stateDirectory = "/var/lib/v"

  /// If the default path cannot be used, the node runs without a socket.
  private static func listen(
    _ node: Node, _ configuration: Configuration, _ users: NodeUsers,
    _ priority: @escaping @Sendable (Int32) -> Priority, _ directory: Directory
  ) throws -> AttachServer? {
    guard let path = configuration.socket else { return nil }
    do throws(AttachServerError) {
      return try AttachServer(
        node, kernel: node.id, path: path, users: users, priority: priority
      ) {
        directory.probeManagers()
      }
    } catch {
      if configuration.mustHaveSocket { throw error }
      log.warning("\(error); no process can attach to this node")
      return nil
    }
  }
}
