import Synchronization
import VObjects
import VProtocol
import VRuntime

/// The names below `team/by-id`: the entity of a program, which it keeps when it moves, and a link
/// to the name that it has on the host where it is.
///
/// Every host has its own. It lists this host's programs; those of others are asked for when their
/// names are used. Only program managers are asked, so no process hears of it.
final class ProgramLinks: Sendable {
  private struct State: Sendable {
    var questions: Shares
    /// What the last questions have found.
    var found: [Name: QueryTeam.Answer] = [:]
  }

  static let prefix = "team/\(QueryTeam.linksName)"
  /// Questions at once, of all users together.
  private static let questionsMax = 64
  /// Each is used as soon as it is known: more than there are questions.
  private static let foundMax = 256
  /// A manager answers at once, or the program is nowhere: it has been asked five times by then.
  private static let timeLimit = TimeSpan.milliseconds(200)

  private let backplane: any Backplane
  private let programs: Programs
  private let clients: ClientPool
  private let state: Mutex<State>

  init(_ backplane: any Backplane, _ programs: Programs) {
    self.backplane = backplane
    self.programs = programs
    clients = ClientPool(backplane, of: .teamServer)
    state = Mutex(
      State(questions: Shares(capacity: Self.questionsMax, ownHost: backplane.host)))
  }

  var root: TreeContext {
    var root = TreeContext(names: { [self] in programs.all.map { Name("\($0.entity)") } }) {
      [self] name in target(of: name).map { .link($0) }
    }
    root.prepare = { [self] name, caller, done in
      guard let name, let program = Self.entity(name), programs[program] == nil else {
        return done(nil)
      }
      ask(program, name, for: caller, done)
    }
    return root
  }

  /// The entity of a name; an entity has one name.
  private static func entity(_ name: Name) -> EntityID? {
    guard let entity = EntityID(String(decoding: name.octets, as: UTF8.self)), !entity.isGroup,
      Name("\(entity)") == name
    else { return nil }
    return entity
  }

  private func target(of name: Name) -> [UInt8]? {
    let own = Self.entity(name).flatMap { programs[$0] }.map {
      QueryTeam.Answer(host: backplane.host, name: $0.name)
    }
    guard let found = own ?? state.withLock({ $0.found[name] }) else { return nil }
    return Array("../\(found.host)/".utf8) + found.name.octets
  }

  private func ask(
    _ program: EntityID, _ name: Name, for caller: Caller, _ done: @escaping Outcome
  ) {
    let asker = caller.principal
    guard state.withLock({ $0.questions.take(asker) }) else {
      return done(Refusal(.noServerResources, "\(asker) asks for too many programs at once"))
    }
    // Whoever is asked could forward the request, with other words, as its sender's.
    clients.send(
      QueryTeam(program), as: "nobody", to: .programManagerGroup, at: .memory,
      options: SendOptions(timeLimit: Self.timeLimit)
    ) { [self] answer in
      var found: QueryTeam.Answer?
      if case .done(let answer, _) = answer, answer.isSound { found = answer }
      state.withLock { state in
        state.questions.give(asker)
        if state.found.count >= Self.foundMax { state.found = [:] }
        state.found[name] = found
      }
      done(nil)
    }
  }
}

extension QueryTeam.Answer {
  /// Whether the link stays below `team`.
  fileprivate var isSound: Bool {
    Principal.isName(host) && Self.isComponent(Array(host.utf8)) && Self.isComponent(name.octets)
  }

  private static func isComponent(_ octets: [UInt8]) -> Bool {
    guard let first = octets.first, first != UInt8(ascii: ".") else { return false }
    return !octets.contains(0) && !octets.contains(UInt8(ascii: "/"))
  }
}
