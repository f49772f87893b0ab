import ArgumentParser
import CVLinux
import Glibc
import Synchronization
import VAttach
import VCommand
import VFileServer
import VLinuxStore
import VProtocol
import VRuntime
import VServers
import VStore
import VTeamServer

/// `v serve`: runs a server as a process of its own, the same that runs inside a node.
struct Serve: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs a server as a process of its own.",
    discussion: """
      Example: v serve pipe

      The node's configuration leaves such a server out (servers = ["file"]). While the process \
      does not run, its names stay, and calls on what is below them fail with "Host is down". It \
      ends at SIGTERM or SIGINT; when the node ends, it waits a minute for the next one. Only root \
      and the user who runs the node may serve names.

      v serve -- ./server ARGUMENTS runs a program of your own as a server. It is started at the \
      first use of its prefix, which is in V_PREFIX, and is started again when it died.
      """)

  @Argument(
    help: ArgumentHelp(
      "The server: "
        + ServerRegistry.all.map { "\($0.name) (\($0.summary))" }.joined(separator: ", ") + ".",
      valueName: "server"),
    completion: .list(ServerRegistry.all.map(\.name)))
  var server: String?

  @Option(
    help: ArgumentHelp(
      "For a program: the prefix that it serves (default: its file name, and the host).",
      valueName: "prefix"))
  var prefix: String?

  @Argument(
    parsing: .postTerminator,
    help: ArgumentHelp("A server of your own and its arguments.", valueName: "program"))
  var program: [String] = []

  @Option(
    help: ArgumentHelp(
      "file: a directory to serve and its name (default: storage/HOST=/srv/storage).",
      valueName: "prefix=path"))
  var export: [String] = []

  @Flag(help: "file: refuse every change.")
  var readOnly = false

  @Option(help: ArgumentHelp("file: a host that may use it (default: all).", valueName: "host"))
  var allow: [String] = []

  @Option(
    help: ArgumentHelp("file: a host whose root is root here, or '*' for all.", valueName: "host"))
  var root: [String] = []

  @Option(
    help: ArgumentHelp(
      "file: a host whose users without a name are those of the same number here, or '*' for all.",
      valueName: "host"))
  var numbers: [String] = []

  @Option(
    name: .customLong("run"),
    help: ArgumentHelp(
      "team: a user of another host who may start programs; '*' for all but root, or all hosts.",
      valueName: "user@host"))
  var starter: [String] = []

  @Option(
    help: ArgumentHelp(
      "team: the user that runs the programs of guests (default: they run none).",
      valueName: "user"))
  var guestUser: String?

  @Flag(name: .customLong("wait-for-node"), help: .hidden)
  var isAnew = false

  @OptionGroup var options: CommonOptions

  func validate() throws {
    let names = ServerRegistry.all.map(\.name)
    guard (server == nil) != program.isEmpty else {
      throw ValidationError("Give the name of a server, or a program behind --.")
    }
    guard prefix == nil || server == nil else {
      throw ValidationError("--prefix is for a program behind --.")
    }
    if let prefix, !Claim.isPrefix(Array(prefix.utf8)) {
      throw ValidationError("--prefix takes names separated by single slashes: '\(prefix)'.")
    }
    if let server, !names.contains(server) {
      throw ValidationError(
        "There is no server '\(server)'; there are \(names.joined(separator: ", ")).")
    }
    guard server == "file" || (export + allow + root + numbers).isEmpty && !readOnly else {
      throw ValidationError(
        "--export, --read-only, --allow, --root and --numbers are for v serve file.")
    }
    // They belong to named exports: the host's own directory is open to all hosts.
    guard !export.isEmpty || (allow + root + numbers).isEmpty && !readOnly else {
      throw ValidationError(
        "--read-only, --allow, --root and --numbers are for exports of --export.")
    }
    guard RunRules(starter, host: "") != nil else {
      throw ValidationError("--run takes USER@HOST: \(starter.joined(separator: ", ")).")
    }
    guard server == "team" || starter.isEmpty && guestUser == nil else {
      throw ValidationError("--run and --guest-user are for v serve team.")
    }
    if let guestUser, !RunRules.canBeGuest(guestUser) {
      throw ValidationError("--guest-user takes a user who is neither root nor nobody.")
    }
    guard export.count <= Export.exportsMax else {
      throw ValidationError("--export is given at most \(Export.exportsMax) times.")
    }
    for export in export where Self.parts(of: export) == nil {
      throw ValidationError("--export takes PREFIX=PATH, and the path is absolute: '\(export)'.")
    }
  }

  func run() throws {
    let signals = Signals()
    // After `beginAnew` Linux would call it by the link that it was started by.
    if isAnew { pthread_setname_np(pthread_self(), "v") }
    raiseDescriptorLimit()
    // Before there are threads.
    let plug = try server.map { try prepare($0) }
    guard var node = try isAnew ? nextNode(signals) : options.attach() else { return }
    while try plug.map({ try serve($0, on: node, signals) }) ?? serveProgram(on: node, signals) {
      say("v: \(what): the node is gone; waiting \(Self.patience) s for the next one", to: 2)
      // Keepers are children of the process, which has to wait for them.
      if let server, server != "team" { beginAnew() }
      guard let next = try nextNode(signals) else { return }
      node = next
    }
  }

  private var what: String { "serve \(server ?? program[0])" }

  /// How long to wait for the next node, in seconds.
  private static let patience = 60
}

// MARK: - The server

extension Serve {
  /// Becomes this command anew, which waits for the next node: so nothing is left of what was held
  /// for clients of the last one, locks above all.
  ///
  /// Where that can not be done it goes on as it is.
  private func beginAnew() {
    var words = CommandLine.arguments
    guard let verb = words.firstIndex(of: Self._commandName) else { return }
    if !isAnew { words.insert("--wait-for-node", at: verb + 1) }
    var arguments = words.map { strdup($0) } + [nil]
    v_begin_anew(&arguments)
    for text in arguments { free(text) }
  }

  /// What must be done before there are threads; then how the server is plugged in.
  private func prepare(_ server: String) throws -> ServerEntry.Plug {
    var options = ServerOptions(users: LinuxUsers())
    if !export.isEmpty {
      options.exports = export.compactMap(Self.parts).map { prefix, path in
        Export(
          prefix: Array(prefix.utf8), path: path, isReadOnly: readOnly,
          allowedHosts: allow.isEmpty ? nil : allow, rootHosts: root, numberHosts: numbers)
      }
    }
    options.run = starter
    if let guestUser {
      let found = try? options.users.credentials(ofUser: guestUser, .mayWait)
      guard let found, found.canBeGuest else {
        throw Failure(
          status: .usage,
          description: "\(what): \(guestUser): no such user, or one who is root or nobody")
      }
      options.guestUser = guestUser
    }
    do throws(ServerFailure) {
      return try ServerRegistry[server]!.prepare(options)
    } catch {
      throw Failure(status: .refused, description: "\(what): \(error)")
    }
  }

  private static func parts(of export: String) -> (prefix: String, path: String)? {
    let parts = export.split(separator: "=", maxSplits: 1).map(String.init)
    guard parts.count == 2, parts[1].hasPrefix("/"), Claim.isPrefix(Array(parts[0].utf8)) else {
      return nil
    }
    return (parts[0], parts[1])
  }
}

// MARK: - Serving

extension Serve {
  /// The same as `serve`, for a program of the user's own.
  private func serveProgram(on node: AttachedBackplane, _ signals: Signals) throws -> Bool {
    defer { node.close() }
    guard node.makeClient(user: "root") != .none else { throw notAllowed(node) }
    node.whenDetached { Signals.wake() }
    let name = program[0].split(separator: "/").last.map(String.init) ?? program[0]
    let served = ServedProgram(program, prefix: prefix ?? "\(name)/\(node.host)", node)
    return try served.serve(signals, socket: options.socketPath)
  }

  private func notAllowed(_ node: AttachedBackplane) -> Failure {
    Failure(
      status: .refused, description: "\(what): \(node.user) may not serve names of this node",
      remedy: "only root may, and the user who runs the node")
  }

  /// Serves until a signal comes (false) or the node has ended (true).
  ///
  /// Throws if no prefix is left to serve.
  private func serve(
    _ plug: ServerEntry.Plug, on node: AttachedBackplane, _ signals: Signals
  ) throws -> Bool {
    defer { node.close() }
    let client = node.makeClient(user: "root")
    guard client != .none else { throw notAllowed(node) }
    node.whenDetached { Signals.wake() }
    let running: RunningServer
    do throws(ServerFailure) {
      running = try plug(node)
    } catch {
      throw Failure(status: .refused, description: "\(what): \(error)")
    }
    let news = Mutex<[(prefix: String, code: ReplyCode)]>([])
    running.claim(
      NameSpace(of: node.kernel).directory
    ) { prefix, code in
      news.withLock { $0.append((prefix, code)) }
      Signals.wake()
    }
    var heard: Set<String> = []
    var served: Set<String> = []
    // A prefix that was lost is claimed again when its new manager is gone.
    var hasServed = false
    while true {
      guard signals.wait() else {
        running.end()
        return false
      }
      guard node.isAttached else { return true }
      for (prefix, code) in news.withLock({ $0.takeAll() }) {
        heard.insert(prefix)
        if code.isOK {
          served.insert(prefix)
          hasServed = true
          say("v: \(what): serving \(prefix)", to: 2)
          continue
        }
        served.remove(prefix)
        let refusal = refusal(of: prefix, code, node, client)
        let isRefused = served.isEmpty && heard.count == running.prefixes.count
        if isRefused && !hasServed { throw refusal }
        say("v: \(refusal)", to: 2)
      }
    }
  }

  private func refusal(
    of prefix: String, _ code: ReplyCode, _ node: AttachedBackplane, _ client: EntityID
  ) -> Failure {
    var failure = Failure(
      status: .refused, description: "\(what): \(prefix) is not served: \(code)")
    if code == .duplicateName, let host = holder(of: prefix, node, client) {
      failure.description = "\(what): \(prefix) is served already, by \(host)"
      if host == node.host {
        failure.remedy =
          "a server runs in the node unless `servers` in its configuration leaves it out"
      }
    }
    return failure
  }

  /// The host that has a prefix.
  private func holder(
    of prefix: String, _ node: AttachedBackplane, _ client: EntityID
  ) -> String? {
    let found = node.sendAndWait(
      QueryName(ContextName(.none, Array(prefix.utf8))), from: client, to: .nameHandlingGroup,
      options: SendOptions(timeLimit: .milliseconds(400)))
    guard case .done(let answer, _) = found else { return nil }
    let state = node.sendAndWait(
      ProbeEntity(answer.manager), from: client,
      to: .manager(of: answer.manager.kernel))
    guard case .done(let manager, _) = state else { return nil }
    // A server acts for no user: its principal is `@host`.
    return manager.principal.split(separator: "@").last.map(String.init)
  }

  /// The next node after one that ended; nil at a signal.
  private func nextNode(_ signals: Signals) throws -> AttachedBackplane? {
    for _ in 0..<Self.patience {
      guard signals.wait(seconds: 1) else { return nil }
      if let node = try? options.attach() { return node }
    }
    throw Failure(
      status: .noNode, description: "\(what): no node came within \(Self.patience) s",
      remedy: "to start it: \(CommonOptions.startCommand)")
  }
}

extension Array {
  fileprivate mutating func takeAll() -> [Element] {
    defer { self = [] }
    return self
  }
}
