import CVLinux
import Glibc
import Synchronization
package import VKeeping
import VProtocol
public import VRuntime
public import VStore

/// Programs of this host, each in a cgroup of its own and with a keeper (`vkeep`): a process that
/// outlives this one and has the program's streams and status.
///
/// A keeper listens at a socket that is named by its pid; so the next server finds running
/// programs, and those that have ended meanwhile.
public final class LinuxPrograms: ProgramMachine {
  let backplane: any Backplane
  let resources: HostResources
  let users: any UserTable
  let looks = ProcessLooks()
  let memoryReaders = MemoryReaders()
  private let directory: String
  private let keeper: String
  private let outlivesServer: Bool
  private struct State: Sendable {
    /// By the pid of their supervisor; until their keeper has ended.
    var programs: [Int32: KeptProgram] = [:]
    var startingCount = 0
  }
  private let state = Mutex(State())

  /// A keeper that does not answer a new server in this time is killed, and its program with it.
  private static let answerTimeLimit = TimeSpan.seconds(10)
  /// How often, and how far apart, it is looked whether a keeper that left has ended.
  private static let cleaningTries = 100
  private static let cleaningInterval = TimeSpan.milliseconds(20)

  /// Keeps the sockets in `directory`, and starts the keeper that is beside the running program.
  ///
  /// If the server dies, its programs go on with `outlivesServer`, and end at once without it.
  public convenience init(
    _ backplane: any Backplane, users: any UserTable, directory: String = "/run/v/team",
    outlivesServer: Bool = true
  ) {
    let program = ProcessFiles.link("/proc/self/exe")
    let folder = program[..<(program.lastIndex(of: "/") ?? program.startIndex)]
    self.init(
      backplane, users: users, directory: directory, outlivesServer: outlivesServer,
      keeper: "\(folder)/vkeep", resources: HostResources())
  }

  package init(
    _ backplane: any Backplane, users: any UserTable, directory: String, outlivesServer: Bool,
    keeper: String, resources: HostResources
  ) {
    self.backplane = backplane
    self.users = users
    self.directory = directory
    self.outlivesServer = outlivesServer
    self.keeper = keeper
    self.resources = resources
  }

  /// Whether there is no keeper: nothing runs, and no ended program is kept.
  public var isEmpty: Bool { state.withLock { $0.programs.isEmpty } }

  public var classMechanism: ClassMechanism { resources.mechanism }

  public var loadThousandths: Int {
    let text = ProcessFiles.lines(of: "/proc/loadavg").first?.split(separator: " ").first
    return Int((Double(text ?? "0") ?? 0) * 1000)
  }

  // MARK: Starting

  public func start(
    _ order: ProgramOrder, completion: @escaping @Sendable (Outcome<any HostedProgram>) -> Void
  ) {
    if let refusal = order.fault { return completion(.failure(refusal)) }
    let hasRoom = state.withLock { state in
      guard state.programs.count + state.startingCount < ProgramOrder.programsMax else {
        return false
      }
      state.startingCount += 1
      return true
    }
    guard hasRoom else {
      return completion(
        .failure(
          Refusal(
            .noServerResources,
            "\(backplane.host) has \(ProgramOrder.programsMax) programs, and takes no more")))
    }
    let finish: @Sendable (Outcome<any HostedProgram>) -> Void = { [self] outcome in
      state.withLock { $0.startingCount -= 1 }
      completion(outcome)
    }
    account(of: order.user) { [self] outcome in
      switch outcome {
      case .failure(let refusal): finish(.failure(refusal))
      case .success(let account):
        backplane.disk { [self] in start(order, as: account, completion: finish) }
      }
    }
  }

  private func start(
    _ order: ProgramOrder, as account: UserAccount,
    completion: @escaping @Sendable (Outcome<any HostedProgram>) -> Void
  ) {
    do throws(Refusal) {
      let (pid, link) = try startKeeper(for: order)
      let who = account.credentials
      link.send(
        .start(
          KeeperOrder(
            program: account.completing(order), uid: who.uid, gid: who.gid,
            groups: Array(who.groups.prefix(KeeperOrder.groupsMax)), home: account.home,
            resources: resources, directory: directory, outlivesServer: outlivesServer)))
      meet(pid, link, isChild: true, completion: completion)
    } catch {
      completion(.failure(error))
    }
  }

  private func startKeeper(
    for order: ProgramOrder
  ) throws(Refusal) -> (pid: Int32, link: KeeperLink) {
    makeDirectory()
    var ends: (Int32, Int32) = (-1, -1)
    let made = unsafe withUnsafeMutablePointer(to: &ends) {
      unsafe $0.withMemoryRebound(to: Int32.self, capacity: 2) { unsafe v_channel_make($0) }
    }
    guard made == 0 else { throw .system(made, "no channel to a keeper") }
    let link = KeeperLink(ends.0, backplane)
    defer { close(ends.1) }
    // The name is for people who look at the processes of the host.
    let pid = unsafe keeper.withCString { path in
      unsafe order.name.withCString { name in
        let arguments: [UnsafePointer<CChar>?] = unsafe [path, name, nil]
        return unsafe v_keeper_spawn(path, arguments, ends.1)
      }
    }
    guard pid > 0 else { throw .system(pid, "cannot start \(keeper)") }
    return (pid, link)
  }

  private func makeDirectory() {
    guard unsafe access(directory, F_OK) != 0 else { return }
    var path = ""
    for part in directory.split(separator: "/") {
      path += "/\(part)"
      unsafe mkdir(path, path == directory ? 0o700 : 0o755)
    }
  }

  /// Waits for a keeper's first frame: its program, or the reason why it has none.
  private func meet(
    _ keeper: Int32, _ link: KeeperLink, isChild: Bool,
    completion: @escaping @Sendable (Outcome<any HostedProgram>) -> Void
  ) {
    let met = Mutex<KeptProgram?>(nil)
    let isAnswered = Atomic(false)
    link.start { [self] frame in
      let program = met.withLock { $0 }
      if let program {
        program.handle(frame)
      } else if case .program(let status) = frame {
        let program = KeptProgram(link, status, backplane)
        met.withLock { $0 = program }
        state.withLock { $0.programs[status.initPid] = program }
        isAnswered.store(true, ordering: .relaxed)
        completion(.success(program))
      } else if !isAnswered.exchange(true, ordering: .relaxed) {
        if case .refused(let refusal) = frame {
          completion(.failure(refusal))
        } else {
          completion(.failure(Refusal(.deviceError, "the keeper died")))
        }
      }
      guard frame == nil else { return }
      state.withLock { state in
        for (pid, other) in state.programs where other === program { state.programs[pid] = nil }
      }
      backplane.disk { [self] in
        if isChild { _ = waitpid(keeper, nil, 0) }
        clean(after: keeper)
      }
    }
  }

  /// A keeper removes what it made, unless it was killed.
  private func clean(after keeper: Int32, tries: Int = cleaningTries) {
    guard !ProcessTable.isAlive(keeper) else {
      // Its sockets end a moment before it does; or it just has another server.
      guard tries > 0 else { return }
      return backplane.after(Self.cleaningInterval) { [self] in
        backplane.disk { [self] in clean(after: keeper, tries: tries - 1) }
      }
    }
    unsafe unlink("\(directory)/\(keeper)")
    resources.removeGroups(ofKeeper: keeper)
  }

  // MARK: Finding

  public func recover(completion: @escaping @Sendable ([any HostedProgram]) -> Void) {
    backplane.disk { [self] in
      makeDirectory()
      let links = ProcessFiles.entries(of: directory).compactMap(connect)
      resources.removeRemains()
      let found = Found(links.count, completion)
      for (pid, link) in links {
        meet(pid, link, isChild: false) { found.add(pid, try? $0.get()) }
      }
      backplane.after(Self.answerTimeLimit) {
        for pid in found.missing(of: links.map(\.pid)) { kill(pid, SIGKILL) }
      }
    }
  }

  /// The link to a keeper by the name of its socket; the socket of a dead keeper is removed.
  private func connect(_ name: String) -> (pid: Int32, link: KeeperLink)? {
    guard let pid = Int32(name) else { return nil }
    let socket = unsafe v_attach_connect("\(directory)/\(name)")
    guard socket < 0 else { return (pid, KeeperLink(socket, backplane)) }
    clean(after: pid)
    return nil
  }

  /// Collects the programs of keepers that have answered.
  private final class Found: Sendable {
    private let expected: Int
    private let completion: @Sendable ([any HostedProgram]) -> Void
    private let answers = Mutex<[Int32: (any HostedProgram)?]>([:])

    init(_ expected: Int, _ completion: @escaping @Sendable ([any HostedProgram]) -> Void) {
      self.expected = expected
      self.completion = completion
      if expected == 0 { completion([]) }
    }

    func add(_ keeper: Int32, _ program: (any HostedProgram)?) {
      let all = answers.withLock { answers in
        answers.updateValue(program, forKey: keeper)
        return answers.count == expected ? answers.values.compactMap { $0 } : nil
      }
      if let all { completion(all) }
    }

    func missing(of keepers: [Int32]) -> [Int32] {
      answers.withLock { answers in keepers.filter { answers[$0] == nil } }
    }
  }

  // MARK: Looking

  public func otherProcesses(completion: @escaping @Sendable ([HostProcess]) -> Void) {
    // The pid of a program without processes may belong to another process by now.
    let programs = state.withLock { $0.programs }
    let roots = programs.filter { !$0.value.isEmpty }.map(\.key)
    backplane.disk {
      let table = ProcessTable()
      let ours = Set(roots + roots.flatMap { table.descendants(of: $0).map(\.pid) })
      completion(
        table.entries.values
          .filter { !$0.isKernelThread && !$0.isZombie && !ours.contains($0.pid) }
          .map { HostProcess(pid: $0.pid, command: $0.command) }
          .sorted { $0.pid < $1.pid })
    }
  }
}
