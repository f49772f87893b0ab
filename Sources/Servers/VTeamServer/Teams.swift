import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// The state that the files of a team server share: its programs, the machine, and the rules.
final class Teams: Sendable {
  let backplane: any Backplane
  let machine: any ProgramMachine
  let rules: RunRules
  let programs: Programs
  let processes: HostProcesses
  let refusals: Mutex<RefusedLines>
  let shares: TeamShares
  private let guests = Mutex(true)

  init(_ backplane: any Backplane, _ machine: any ProgramMachine, _ rules: RunRules) {
    self.backplane = backplane
    self.machine = machine
    self.rules = rules
    shares = TeamShares(host: backplane.host)
    refusals = Mutex(RefusedLines(host: backplane.host))
    let own = LateBound<Teams>()
    programs = Programs(
      backplane, serve: { program, request in own.object?.receive(request, for: program) },
      ended: { program in own.object?.leaveGroups(program) })
    processes = HostProcesses(backplane, machine)
    own.bind(self)
  }

  /// Whether guest programs may be started here.
  var takesGuests: Bool {
    get { guests.withLock { $0 } }
    set { guests.withLock { $0 = newValue } }
  }

  /// Programs that want the processor, plus Linux's load, times 1,000.
  var loadThousandths: Int { programs.busyCount * 1000 + machine.loadThousandths }

  /// Starts the program of a request, for a principal; its starter then holds it, and it has the
  /// share that was taken for it.
  func start(
    _ request: ProgramRequest, _ share: TakenShare, for principal: Principal,
    completion: @escaping @Sendable (Result<Program, Refusal>) -> Void
  ) {
    guard request.programClass != .guest || takesGuests else {
      return completion(
        .failure(Refusal(.noPermission, "\(backplane.host) takes no guests")))
    }
    account(for: principal) { [self] result in
      switch result {
      case .failure(let refusal): completion(.failure(refusal))
      case .success(let user): start(request, share, as: user, for: principal, completion)
      }
    }
  }

  private func start(
    _ request: ProgramRequest, _ share: TakenShare, as user: String, for principal: Principal,
    _ completion: @escaping @Sendable (Result<Program, Refusal>) -> Void
  ) {
    let order = ProgramOrder(
      name: request.name, arguments: request.arguments, environment: request.environment,
      directory: request.directory, user: user, starter: "\(principal)",
      isStarterFullRoot: principal.isFullRoot,
      programClass: request.programClass, terminal: request.terminal, umask: request.umask,
      isAttached: request.isAttached, waitSeconds: UInt32(request.waitSeconds))
    machine.start(order) { [self] outcome in
      let started = outcome.map { hosted in
        programs.add(hosted, owner: owner(of: order), share, isRecovered: false)
      }
      guard let group = request.group, case .success(let program) = started else {
        return completion(started)
      }
      change(.join, group, of: program) { [self] refusal in
        guard let refusal else { return completion(started) }
        takeBack(program) { [self] isGone in
          if !isGone { programs.perform(program.release(.released), program) }
          completion(.failure(refusal))
        }
      }
    }
  }

  /// Takes back the start of a program, as far as its user may end it: processes that have become
  /// another user's go on.
  ///
  /// Otherwise a user who starts a set-user program could have it killed half-way.
  func takeBack(_ program: Program, _ done: @escaping @Sendable (_ isGone: Bool) -> Void) {
    program.hosted.control(.kill(signal: Signal.kill), asUser: true) { [self] refusal in
      let isGone = refusal == nil || refusal?.code == .noProcess
      if isGone { programs.forget(program) }
      done(isGone)
    }
  }

  /// The user of this host that a principal's programs run as, or why they do not.
  func account(
    for principal: Principal,
    completion: @escaping @Sendable (Result<String, Refusal>) -> Void
  ) {
    do throws(Refusal) {
      guard let user = try rules.user(startingFor: principal) else {
        return guest(for: principal, completion)
      }
      machine.hasUser(user) { [self] outcome in
        switch outcome {
        case .success(true): completion(.success(user))
        case .success(false): guest(for: principal, completion)
        case .failure(let refusal): completion(.failure(refusal))
        }
      }
    } catch {
      completion(.failure(error))
    }
  }

  private func guest(
    for principal: Principal, _ completion: @escaping @Sendable (Result<String, Refusal>) -> Void
  ) {
    do throws(Refusal) {
      let guest = try rules.guest(for: principal)
      machine.hasUser(guest) { [rules] outcome in
        completion(
          outcome.flatMap { isKnown in
            isKnown ? .success(guest) : .failure(rules.hasNo(principal))
          })
      }
    } catch {
      completion(.failure(error))
    }
  }

  /// Adds a program of an earlier server, which counts in its starter's share as before.
  func takeUp(_ hosted: any HostedProgram) {
    let order = hosted.order
    let starter = order.principal ?? Principal(user: order.user, host: backplane.host)
    let share = try? shares.take(
      programs: 1, octets: order.footprint, by: starter, isTaken: true)
    let groups = hosted.groups
    let program = programs.add(hosted, owner: owner(of: order), share, isRecovered: true)
    for group in groups where !hosted.isEmpty { rejoin(group, program) }
  }

  /// The owner of a program's files: the user that it runs as, or, for a guest's program, its
  /// starter, so that guests do not share their files.
  func owner(of order: ProgramOrder) -> String {
    guard let starter = order.principal, starter.user != order.user else {
      return order.user
    }
    return rules.identity(of: starter)
  }

  /// The user whose rights are checked for a look at a program, by a caller who may use its files.
  func onlooker(_ caller: Caller, _ program: Program) -> Onlooker {
    caller.isRoot ? .fullRoot : .user(program.hosted.order.user)
  }

  /// Carries out a line on a program, for the owner of its files and for root.
  func control(
    _ program: Program, _ line: [UInt8], by caller: Caller,
    completion: @escaping @Sendable (Refusal?) -> Void
  ) {
    guard program.isOf(caller) || caller.isRoot else {
      return completion(Refusal(.noPermission, "\(program.name) is \(program.owner)'s"))
    }
    do throws(Refusal) {
      switch try ControlLine(parsing: line) {
      case .program(.setClass(.guest)) where !takesGuests:
        completion(Refusal(.noPermission, "\(backplane.host) takes no guests"))
      case .program(let command):
        program.hosted.control(command, asUser: !caller.isRoot, completion: completion)
      case .join(let group):
        change(.join, group, of: program, completion)
      case .leave(let group):
        change(.leave, group, of: program, completion)
      }
    } catch {
      completion(error)
    }
  }
}

extension ProgramOrder {
  /// The principal that started it, with its rights over its host.
  fileprivate var principal: Principal? {
    Principal(starter, marks: isStarterFullRoot ? .fullRoot : [])
  }
}
