import VObjects
public import VProtocol
public import VRuntime

/// The process server: lists the processes of this node's kernel, and tells the state of one.
///
/// Processes are made, probed and ended by VMTP's management operations, which the kernel itself
/// answers; this server only reads.
public final class ProcessServer: Sendable {
  /// A process as its kernel sees it; the entity that it waits for is `none` if it does not wait.
  public typealias State = (
    entity: EntityID, user: String, isServer: Bool, awaits: EntityID, groups: [EntityID]
  )

  /// A client of another kernel: its principal, and the server that works on its last request,
  /// `none` once that is answered.
  public typealias Client = (client: EntityID, principal: Principal?, server: EntityID)

  private let states: @Sendable (EntityID?) -> [State]
  private let clients: @Sendable () -> [Client]
  private let names: @Sendable () -> [EntityID: String]

  /// Lines of the clients of other kernels; a node may know 16,384.
  private static let clientLinesMax = 1024

  /// Joins the process group; `states` returns all processes or one of them, and `clients` those of
  /// other kernels, both from memory.
  public init(
    _ backplane: any Backplane, states: @escaping @Sendable (EntityID?) -> [State],
    clients: @escaping @Sendable () -> [Client],
    names: @escaping @Sendable () -> [EntityID: String] = { [:] }
  ) {
    self.states = states
    self.names = names
    self.clients = clients
    let server = backplane.makeServer(knowsPrincipals: false) { [backplane, states] request in
      guard request.message.mcb.code == QueryProcess.code else {
        return backplane.refuse(.illegalRequest, request)
      }
      backplane.serve(QueryProcess.self, request) { query in
        guard let state = states(query.process).first else {
          return backplane.refuse(.nonexistentEntity, request)
        }
        backplane.reply(QueryProcess.Answer(text: Self.text(of: state)), to: request)
      }
    }
    backplane.join(server, group: .processGroup)
  }

  /// One text for each process, by the name of its entity.
  var processes: TreeContext {
    TreeContext(names: { [states] in states(nil).map { Name("\($0.entity)") } }) {
      [states] name in
      guard let entity = name.text.flatMap({ EntityID($0) }), !states(entity).isEmpty else {
        return nil
      }
      return .text(
        TreeText { states(entity).first.map(Self.text) ?? "entity \(entity)\nstate dead\n" })
    }
  }

  /// Every process as a line: entity, kind, user, state, the entity it waits for, and the prefixes
  /// that it serves or the Linux process that it belongs to; then every group with its members
  /// here, and every client of another kernel, with its principal and the server that works for
  /// it.
  var entitiesText: String {
    let all = states(nil)
    var members: [EntityID: [EntityID]] = [:]
    for state in all {
      for group in state.groups { members[group, default: []].append(state.entity) }
    }
    let groups = members.sorted { $0.key.rawValue < $1.key.rawValue }
    let names = names()
    return all.map { state in
      let words = Self.words(of: state) + [names[state.entity] ?? "-"]
      return "\(state.entity) \(words.joined(separator: " "))\n"
    }.joined()
      + groups.map { group, members in
        "group \(group) \(members.map { "\($0)" }.joined(separator: " "))\n"
      }.joined()
      + clients().prefix(Self.clientLinesMax).map { client in
        "client \(client.client) \(client.principal.map { "\($0)" } ?? "-") "
          + "\(client.server == .none ? "-" : "\(client.server)")\n"
      }.joined()
  }

  private static func words(of state: State) -> [String] {
    [
      state.isServer ? "server" : "client", state.user.isEmpty ? "-" : state.user,
      state.awaits == .timeGroup
        ? "delaying"
        : state.awaits != .none ? "awaiting-reply" : state.isServer ? "receiving" : "ready",
      state.awaits == .none ? "-" : "\(state.awaits)",
    ]
  }

  private static func text(of state: State) -> String {
    let names = ["kind", "user", "state", "awaits"]
    return "entity \(state.entity)\n"
      + zip(names, words(of: state)).map { "\($0) \($1)\n" }.joined()
      + state.groups.map { "group \($0)\n" }.joined()
  }
}
