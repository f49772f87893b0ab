import Synchronization
import VProtocol
import VRuntime
import VStore
import VTeamServer

/// A machine whose programs are controlled by a test; it outlives the servers that use it.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class FakeMachine: ProgramMachine, @unchecked Sendable {
  var programs: [Int32: FakeProgram] = [:]
  var users: Set<String> = ["root", "ann", "bob", "visitor"]
  /// The refusal of the table of users, if it gives no answer.
  var userFailure: Refusal?
  /// The owner of a process, if that is no longer the user who started it.
  var runsAs: [Int32: String] = [:]
  /// The contents of files of processes, instead of their names.
  var contents: [ProcessFile: [UInt8]] = [:]
  var others = [HostProcess(pid: 7, command: Array("kworker/0:1 x".utf8))]
  var memory: [UInt8] = Array("memory".utf8)
  var load = 250
  private var lastPID: Int32 = 100

  var loadThousandths: Int { load }
  var classMechanism: ClassMechanism { .cgroup2 }

  /// The one that was started last.
  var last: FakeProgram { programs[lastPID]! }

  func start(
    _ order: ProgramOrder, completion: @escaping @Sendable (Outcome<any HostedProgram>) -> Void
  ) {
    let command = String(decoding: order.arguments.last ?? [], as: UTF8.self)
    guard command != "missing" else {
      return completion(.failure(Refusal(.notFound, "no such program: missing")))
    }
    lastPID += 1
    let program = FakeProgram(self, lastPID, order)
    programs[lastPID] = program
    completion(.success(program))
  }

  func recover(completion: @escaping @Sendable ([any HostedProgram]) -> Void) {
    completion(programs.values.sorted { $0.pid < $1.pid })
  }

  func otherProcesses(completion: @escaping @Sendable ([HostProcess]) -> Void) {
    completion(others)
  }

  func read(
    _ file: ProcessFile, ofProcess pid: Int32, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void
  ) {
    guard file.isPublic || mayLook(pid, onlooker) else { return completion(.failure(Self.secret)) }
    completion(.success(contents[file] ?? Array("\(file.rawValue) of \(pid)".utf8)))
  }

  func readMemory(
    ofProcess pid: Int32, at position: UInt64, count: Int, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void
  ) {
    guard mayLook(pid, onlooker) else { return completion(.failure(Self.secret)) }
    guard position < UInt64(memory.count) else {
      return completion(.failure(Refusal(.outOfRange, "nothing is mapped there")))
    }
    completion(.success(Array(memory[Int(position)...].prefix(count))))
  }

  private static let secret = Refusal(.noPermission, "it is another user's")

  private func mayLook(_ pid: Int32, _ onlooker: Onlooker) -> Bool {
    guard case .user(let name) = onlooker else { return true }
    return (runsAs[pid] ?? programs[pid]?.order.user) == name
  }

  func hasUser(_ name: String, completion: @escaping @Sendable (Outcome<Bool>) -> Void) {
    if let userFailure { return completion(.failure(userFailure)) }
    completion(.success(users.contains(name)))
  }
}

/// A program that a test controls.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class FakeProgram: HostedProgram, @unchecked Sendable {
  private struct Reading {
    var stream: OutputStream
    var position: UInt64
    var count: Int
    var completion: @Sendable (StreamRead) -> Void
  }

  private unowned let machine: FakeMachine
  let pid: Int32
  let order: ProgramOrder
  let startedAt: Int64
  var endedAt: Int64?
  var directory = Array("/".utf8)
  private(set) var state = ProgramState.running
  private(set) var isEmpty = false
  private(set) var groups: [Name] = []
  /// Whether processes that it left behind still run.
  var leavesSomething = false
  private(set) var terminal: TerminalSize?
  private(set) var input: [UInt8] = []
  private(set) var isInputEnded = false
  private(set) var isHungUp = false
  private(set) var isForgotten = false
  private(set) var commands: [ProgramCommand] = []
  /// Whether the last command was limited to its user's rights.
  private(set) var isLastAsUser: Bool?
  var waitingReads: Int { reads.count }
  var waitingLooks: Int { looks.count }
  private var output: [OutputStream: [UInt8]] = [:]
  private var reads: [UInt32: Reading] = [:]
  /// Octets before it are kept no more.
  var keptFrom: UInt64 = 0
  private var looks: [UInt32: (place: ProgramPlace, completion: @Sendable (ProgramLook) -> Void)] =
    [:]
  private var lastTicket: UInt32 = 0
  private var observer: (@Sendable (ProgramChange) -> Void)?

  init(_ machine: FakeMachine, _ pid: Int32, _ order: ProgramOrder) {
    self.machine = machine
    self.pid = pid
    self.order = order
    startedAt = Int64(pid) * 1_000_000_007
    terminal = order.terminal
  }

  // MARK: what a test does

  func say(_ text: String, _ stream: OutputStream = .out) {
    output[stream, default: []] += Array(text.utf8)
    serve()
  }

  func become(_ state: ProgramState) {
    self.state = state
    if state.isEnd { endedAt = startedAt + 5 }
    observer?(.state(state))
    serve()
    if state.isEnd && !leavesSomething { becomeEmpty() }
  }

  func becomeEmpty() {
    isEmpty = true
    observer?(.empty)
  }

  // MARK: what a server does

  func observe(_ change: @escaping @Sendable (ProgramChange) -> Void) { observer = change }

  func read(
    _ stream: OutputStream, from position: UInt64, count: Int,
    completion: @escaping @Sendable (StreamRead) -> Void
  ) -> ReadTicket {
    lastTicket += 1
    reads[lastTicket] = Reading(
      stream: stream, position: position, count: count, completion: completion)
    let ticket = ReadTicket(rawValue: lastTicket)
    serve()
    return ticket
  }

  func cancel(_ ticket: ReadTicket) {
    reads.removeValue(forKey: ticket.rawValue)?.completion(.cancelled)
    looks.removeValue(forKey: ticket.rawValue)?.completion(.busy)
  }

  func look(
    at place: ProgramPlace, waits: Bool, completion: @escaping @Sendable (ProgramLook) -> Void
  ) -> ReadTicket {
    lastTicket += 1
    let ticket = ReadTicket(rawValue: lastTicket)
    let found = look(at: place)
    if waits && found == .busy {
      looks[lastTicket] = (place, completion)
    } else {
      completion(found)
    }
    return ticket
  }

  private func look(at place: ProgramPlace) -> ProgramLook {
    switch place {
    case .input: isInputEnded ? .ended : .ready
    case .output(let stream, let position):
      position < UInt64(output[stream, default: []].count) ? .ready : state.isEnd ? .ended : .busy
    }
  }

  private func serve() {
    for (ticket, waiting) in looks.sorted(by: { $0.key < $1.key }) {
      let found = look(at: waiting.place)
      guard found != .busy else { continue }
      looks[ticket] = nil
      waiting.completion(found)
    }
    for (ticket, read) in reads.sorted(by: { $0.key < $1.key }) {
      let all = output[read.stream, default: []]
      if read.position < UInt64(all.count) {
        reads[ticket] = nil
        let position = max(read.position, keptFrom)
        read.completion(
          .octets(Array(all[Int(position)...].prefix(read.count)), position: position))
      } else if state.isEnd {
        reads[ticket] = nil
        read.completion(.end)
      }
    }
  }

  private var numbered: UInt64 = 0

  func write(
    _ data: [UInt8], at position: UInt64?, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    if isInputEnded { return completion(.brokenPipe) }
    var data = data[...]
    if let position {
      guard position <= numbered else { return completion(.outOfRange) }
      data = data.dropFirst(Int(numbered - position))
      numbered += UInt64(data.count)
    }
    input += data
    completion(.ok)
  }

  func note(groups: [Name]) { self.groups = groups }

  func endInput() { isInputEnded = true }

  func control(
    _ command: ProgramCommand, asUser: Bool, completion: @escaping @Sendable (Refusal?) -> Void
  ) {
    guard !isEmpty else { return completion(Refusal(.noProcess, "it has ended")) }
    guard !asUser || machine.runsAs[pid].map({ $0 == order.user }) ?? true else {
      return completion(Refusal(.notOwner, "it is another user's"))
    }
    commands.append(command)
    isLastAsUser = asUser
    switch command {
    case .suspend: become(.suspended)
    case .resume: become(.running)
    case .kill(let signal):
      if state.isEnd { becomeEmpty() } else { become(.killed(signal: signal)) }
    case .setSize(let size): terminal = size
    case .setClass: break
    }
    completion(nil)
  }

  func hangUp() {
    isHungUp = true
    guard machine.runsAs[pid].map({ $0 == order.user }) ?? true else { return }
    if !state.isEnd { become(.killed(signal: 1)) }
  }

  func processes(completion: @escaping @Sendable ([Int32]) -> Void) {
    completion(isEmpty ? [] : state.isEnd ? [pid + 1000] : [pid, pid + 1000])
  }

  func usage(completion: @escaping @Sendable (ProgramUsage) -> Void) {
    completion(ProgramUsage(processorMilliseconds: 12, memoryKilobytes: 34, processCount: 2))
  }

  func forget() {
    isForgotten = true
    machine.programs[pid] = nil
  }
}
