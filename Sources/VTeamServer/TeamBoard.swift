import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// What the files of a team server share: its programs, the machine, and who may do what.
final class TeamBoard: Sendable {
  let backplane: any Backplane
  let machine: any ProgramMachine
  let rules: RunRules
  let programs: Programs
  let processes: HostProcesses
  let refusals = Mutex(RefusedLines())
  /// Sends what nobody answers.
  let teller: EntityID
  private let guests = Mutex(true)

  init(_ backplane: any Backplane, _ machine: any ProgramMachine, _ rules: RunRules) {
    self.backplane = backplane
    self.machine = machine
    self.rules = rules
    let own = Mutex<TeamBoard?>(nil)
    programs = Programs(
      backplane, serve: { program, request in own.withLock { $0 }?.receive(request, for: program) },
      ended: { program in own.withLock { $0 }?.leaveGroups(program) })
    processes = HostProcesses(backplane, machine)
    teller = backplane.makeClient(user: "root")
    own.withLock { $0 = self }
  }

  /// Whether guest programs may be started here.
  var takesGuests: Bool {
    get { guests.withLock { $0 } }
    set { guests.withLock { $0 = newValue } }
  }

  /// Programs that want the processor, and what Linux says of it, times 1,000.
  var loadThousandths: Int { programs.busyCount * 1000 + machine.loadThousandths }

  /// Starts what a request says, for a principal; the program is held by its starter then.
  func start(
    _ request: ProgramRequest, for principal: Principal,
    completion: @escaping @Sendable (Result<Program, Refusal>) -> Void
  ) {
    let user: String
    do throws(Refusal) {
      user = try rules.user(startingFor: principal)
    } catch {
      return completion(.failure(error))
    }
    guard request.programClass != .guest || takesGuests else {
      return completion(
        .failure(Refusal(.noPermission, "\(backplane.host) takes no guests")))
    }
    machine.hasUser(user) { [self] isKnown in
      let order = ProgramOrder(
        name: request.name, arguments: request.arguments, environment: request.environment,
        directory: request.directory, user: isKnown ? user : RunRules.nobody,
        starter: "\(principal)", programClass: request.programClass,
        terminal: request.terminal, isAttached: request.isAttached)
      machine.start(order) { [self] outcome in
        let started = outcome.map { hosted in
          programs.add(hosted, owner: owner(of: order), isRecovered: false)
        }.mapError { Refusal($0) }
        if let group = request.group, case .success(let program) = started {
          change(.join, group, of: program)
        }
        completion(started)
      }
    }
  }

  /// To whom the files of a program belong: whom it runs as, or, for one who has no user here, its
  /// starter, so that not everybody who is nobody here has them.
  func owner(of order: ProgramOrder) -> String {
    guard order.user == RunRules.nobody, let starter = Principal(order.starter) else {
      return order.user
    }
    return rules.identity(of: starter)
  }

  /// Does what a line says to a program, for whom its files belong to, and for root.
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
        program.hosted.control(command) { completion($0.map { Refusal($0) }) }
      case .join(let group):
        change(.join, group, of: program)
        completion(nil)
      case .leave(let group):
        change(.leave, group, of: program)
        completion(nil)
      }
    } catch {
      completion(error)
    }
  }
}
