import Synchronization
import VProtocol
import VRuntime

/// What a process may do: it is one Linux user, or the node's own.
struct AttachRights: Sendable {
  var user: String
  /// Root with all of its rights, or the user that the node runs as: may speak for any user, as the
  /// node does.
  ///
  /// Root of a container is neither.
  var isOwner: Bool
  var budget: IdentifierBudget

  /// What its clients may be: never one of the node's mount.
  var marks: Principal.Marks { isOwner ? .fullRoot : [] }

  /// The processes of a user speak for that user, or for nobody at all.
  func mayBe(_ name: String) -> Bool {
    guard !name.isEmpty, name.utf8.count <= AttachFrame.userBytesMax,
      name.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "@") })
    else { return false }
    return isOwner || name == "nobody" || name.utf8.elementsEqual(user.utf8)
  }

  /// Who is in a restricted group, or answers for names, is trusted by everybody.
  func mayJoin(_ group: EntityID) -> Bool {
    isOwner || (group.isUnrestrictedGroup && group != .nameHandlingGroup)
  }

  /// Kernels and directories take each other's word; a process must not speak as one of them.
  func maySend(_ message: Message, to server: EntityID) -> Bool {
    let code = message.mcb.code
    if server == .managerGroup || server == .manager(of: server.kernel) {
      return code == Management.probeEntity
    }
    return isOwner || (code != SpreadClaims.code && code != ClaimName.code)
  }

  /// Whether one more entity may be made.
  func takeIdentifier() -> Bool { isOwner || budget.take() }
}

/// How many identifiers the processes of users may use up: half of those that a boot has, so that
/// the node keeps enough for itself whatever they do.
final class IdentifierBudget: Sendable {
  private let left = Atomic(Int(EntityID.discriminatorMax / 2))

  func take() -> Bool { left.wrappingSubtract(1, ordering: .relaxed).newValue >= 0 }
}

/// What the frames of a process do.
extension AttachedProcess {
  func carryOut(_ frame: AttachFrame) throws(AttachEnding) {
    switch frame {
    case .makeClient(let token, let user):
      guard rights.mayBe(user.name) else { return add(.refused(token: token, .noPermission)) }
      let granted = ClientUser(user.name, marks: user.marks.intersection(rights.marks))
      make(token, .client(isBusy: false)) { node.makeClient(granted) }
    case .makeServer(let token, let knowsPrincipals):
      make(token, .server) {
        node.makeServer(knowsPrincipals: knowsPrincipals) { [self] in deliver($0) }
      }
    case .join(let token, let server, let group):
      try mustOwnServer(server)
      guard group.isGroup, rights.mayJoin(group) else {
        return add(.refused(token: token, group.isGroup ? .noPermission : .badArguments))
      }
      node.join(server, group: group)
      add(.made(token: token, server))
    case .retire(let entity):
      let role = state.withLock { $0.entities.removeValue(forKey: entity) }
      guard role != nil else { throw .foreignEntity }
      node.retire(entity)
    case .send(let message, let client, let server, let options):
      try send(message, from: client, to: server, options)
    case .datagram(let message, let client, let server):
      guard server.isValid else { throw .badFrame }
      try take(client, makesBusy: false)
      if rights.maySend(message, to: server) {
        node.sendDatagram(message, from: client, to: server)
      }
    case .reply(let message, let name):
      if let request = try takeRequest(name) { node.reply(message, to: request) }
    case .forward(let message, let name, let target):
      let request = try takeRequest(name)
      guard target.isValid, !target.isGroup else { throw .badFrame }
      guard let request else { return }
      // The next server acts for the client, on the word of this process.
      guard rights.isOwner, rights.maySend(message, to: target) else {
        return node.refuse(.noPermission, request)
      }
      node.forward(request, message, to: target)
    case .welcome, .made, .refused, .complete, .invoke:
      throw .badFrame
    }
  }

  private func make(_ token: UInt32, _ role: Role, _ body: () -> EntityID) {
    // Only this thread adds entities.
    guard state.withLock({ $0.entities.count }) < Self.entitiesMax, rights.takeIdentifier() else {
      return add(.refused(token: token, .noServerResources))
    }
    let entity = body()
    state.withLock { $0.entities[entity] = role }
    add(.made(token: token, entity))
  }

  private func mustOwnServer(_ server: EntityID) throws(AttachEnding) {
    guard case .server = state.withLock({ $0.entities[server] }) else { throw .foreignEntity }
  }

  private func takeRequest(_ name: AttachFrame.RequestName) throws(AttachEnding) -> Request? {
    try mustOwnServer(name.server)
    return state.withLock { $0.requests.removeValue(forKey: name) }
  }

  /// Checks that `client` is the process's and idle.
  private func take(_ client: EntityID, makesBusy: Bool) throws(AttachEnding) {
    let ending: AttachEnding? = state.withLock { state in
      guard case .client(let isBusy) = state.entities[client] else { return .foreignEntity }
      guard !isBusy else { return .clientBusy }
      if makesBusy { state.entities[client] = .client(isBusy: true) }
      return nil
    }
    if let ending { throw ending }
  }

  private func send(
    _ message: Message, from client: EntityID, to server: EntityID, _ options: SendOptions
  ) throws(AttachEnding) {
    guard server.isValid,
      !options.collectsResponses || (server.isGroup && options.timeLimit != nil)
    else { throw .badFrame }
    try take(client, makesBusy: true)
    guard rights.maySend(message, to: server) else {
      return handle(
        Response(server: .none, message: Message(reply: .noPermission)), to: client, isLast: true)
    }
    let collects = options.collectsResponses
    node.send(message, from: client, to: server, options: options) { [self] response in
      handle(response, to: client, isLast: !collects || response.server == .none)
    }
  }

  private func handle(_ response: Response, to client: EntityID, isLast: Bool) {
    let isWanted = state.withLock { state in
      guard state.entities[client] != nil else { return false }
      if isLast { state.entities[client] = .client(isBusy: false) }
      return true
    }
    guard isWanted else { return }
    let frame = AttachFrame.complete(client: client, response)
    // Of all responses of a group some may be lost.
    if isLast { add(frame) } else { _ = output.add(frame, in: AttachOutput.requestRoom) }
  }

  /// A request for one of the process's servers.
  private func deliver(_ request: Request) {
    let name = AttachFrame.RequestName(request)
    let isForGroup = request.addressee.isGroup
    var refusal: ReplyCode? = state.withLock { state in
      // It may be asked before it is known as this process's, and after that.
      guard state.ending == nil, state.entities[request.server] != nil else {
        return .nonexistentEntity
      }
      if request.message.mcb.flags.contains(.datagram) { return nil }
      if isForGroup {
        state.groupRequests.append(name)
        if state.groupRequests.count > Self.groupRequestsMax {
          state.requests[state.groupRequests.removeFirst()] = nil
        }
      } else if state.requests.count >= Self.requestsMax {
        return .busy
      }
      var kept = request
      kept.message.segment = []
      state.requests[name] = kept
      return nil
    }
    if refusal == nil && !output.add(.invoke(request), in: AttachOutput.requestRoom) {
      refusal = .busy
      state.withLock { $0.requests[name] = nil }
    }
    // Of a group nobody waits for this member.
    if let refusal, !isForGroup { node.refuse(refusal, request) }
  }
}
