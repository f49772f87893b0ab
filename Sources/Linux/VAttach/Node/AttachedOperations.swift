import Synchronization
import VProtocol
import VRuntime

/// Carries out the frames of a process.
extension AttachedProcess {
  func carryOut(_ frame: AttachFrame) throws(AttachEnding) {
    switch frame {
    case .makeClient(let token, let user):
      guard rights.mayBe(user.name) else { return add(.refused(token: token, .noPermission)) }
      let granted = ClientUser(
        user.name, marks: user.marks.intersection(rights.marks), priority: rights.priority)
      make(token, isServer: false) { node.makeClient(granted) }
    case .makeServer(let token, let knowsPrincipals):
      make(token, isServer: true) {
        node.makeServer(knowsPrincipals: knowsPrincipals) { [self] in deliver($0) }
      }
    case .join(let token, let server, let group):
      try join(token, server, group)
    case .retire(let entity):
      try retire(entity)
    case .send(let message, let client, let server, let options):
      try send(message, from: client, to: server, options)
    case .datagram(let message, let client, let server):
      guard server.isValid else { throw .badFrame }
      try take(client, makesBusy: false)
      if rights.maySend(message, to: server, namesOwner: isOwn) {
        node.sendDatagram(message, from: client, to: server)
      }
    case .reply(let message, let name):
      if let request = try takeRequest(name) { node.reply(message, to: request) }
    case .forward(let message, let name, let target):
      let request = try takeRequest(name)
      guard target.isValid, !target.isGroup else { throw .badFrame }
      guard let request else { return }
      // The next server acts for the client because this process forwards its request.
      let kernel = request.client.kernel
      guard rights.isOwner,
        rights.maySend(message, to: target, namesOwner: { $0.kernel == kernel })
      else { return node.refuse(.noPermission, request) }
      node.forward(request, message, to: target)
    case .welcome, .made, .refused, .complete, .invoke:
      throw .badFrame
    }
  }

  private func make(_ token: UInt32, isServer: Bool, _ body: () -> EntityID) {
    guard takeRoom(isServer: isServer) else {
      return add(.refused(token: token, .noServerResources))
    }
    let entity = body()
    let own = Own(isServer: isServer)
    guard entity.isValid else {
      giveBack(own)
      return add(.refused(token: token, .noServerResources))
    }
    state.withLock { state in
      state.entities[entity] = own
      if isServer { state.serverCount += 1 }
    }
    add(.made(token: token, entity))
  }

  /// Takes one more entity if the process and its user may have it.
  private func takeRoom(isServer: Bool) -> Bool {
    // Only this thread adds entities.
    let (entities, servers) = state.withLock { ($0.entities.count, $0.serverCount) }
    let limits = account.limits
    guard entities < limits.entitiesOfProcess,
      !isServer || rights.isOwner || servers < limits.serversOfProcess,
      account.entities.take()
    else { return false }
    if isServer && !account.servers.take() {
      account.entities.give()
      return false
    }
    guard account.takeNumber(at: node.now) else {
      giveBack(Own(isServer: isServer))
      return false
    }
    return true
  }

  private func join(
    _ token: UInt32, _ server: EntityID, _ group: EntityID
  ) throws(AttachEnding) {
    try mustOwnServer(server)
    guard group.isGroup, rights.mayJoin(group) else {
      return add(.refused(token: token, group.isGroup ? .noPermission : .badArguments))
    }
    let joined = state.withLock { $0.entities[server]?.groups ?? [] }
    if !joined.contains(group) {
      guard joined.count < account.limits.groupsOfServer, account.memberships.take() else {
        return add(.refused(token: token, .noServerResources))
      }
      state.withLock { $0.entities[server]?.groups.append(group) }
      node.join(server, group: group)
    }
    add(.made(token: token, server))
  }

  private func retire(_ entity: EntityID) throws(AttachEnding) {
    let (removed, requests) = state.withLock { state in
      let removed = state.entities.removeValue(forKey: entity)
      let requests = removed?.requests.count ?? 0
      for request in removed?.requests.values ?? [:].values {
        state.requests.give(request.principal)
      }
      if removed?.isServer == true { state.serverCount -= 1 }
      return (removed, requests)
    }
    guard let removed else { throw .foreignEntity }
    node.retire(entity)
    account.requests.give(requests)
    giveBack(removed)
  }

  /// Its clients and servers now.
  var entities: [EntityID] { state.withLock { Array($0.entities.keys) } }

  private func isOwn(_ entity: EntityID) -> Bool {
    state.withLock { $0.entities[entity] != nil }
  }

  private func mustOwnServer(_ server: EntityID) throws(AttachEnding) {
    guard state.withLock({ $0.entities[server]?.isServer == true }) else { throw .foreignEntity }
  }

  private func takeRequest(_ name: AttachFrame.RequestName) throws(AttachEnding) -> Request? {
    try mustOwnServer(name.server)
    let request = state.withLock { $0.takeRequest(name) }
    if request != nil { account.requests.give() }
    return request
  }

  /// Checks that `client` belongs to the process and is idle.
  private func take(_ client: EntityID, makesBusy: Bool) throws(AttachEnding) {
    let ending: AttachEnding? = state.withLock { state in
      guard let own = state.entities[client], !own.isServer else { return .foreignEntity }
      guard !own.isBusy else { return .clientBusy }
      if makesBusy { state.entities[client]!.isBusy = true }
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
    guard rights.maySend(message, to: server, namesOwner: isOwn) else {
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
      if isLast { state.entities[client]!.isBusy = false }
      return true
    }
    guard isWanted else { return }
    let frame = AttachFrame.complete(client: client, response)
    // Of all responses of a group some may be lost.
    if isLast { add(frame) } else { _ = output.add(frame, in: output.requestRoom) }
  }

  /// A request for one of the process's servers.
  private func deliver(_ request: Request) {
    let name = AttachFrame.RequestName(request)
    let isForGroup = request.addressee.isGroup
    let isDatagram = request.message.mcb.flags.contains(.datagram)
    var refusal = isDatagram ? nil : keep(request, name, isForGroup: isForGroup)
    if refusal == nil && !output.add(.invoke(request), in: output.requestRoom) {
      refusal = .busy
      if !isDatagram, state.withLock({ $0.takeRequest(name) }) != nil { account.requests.give() }
    }
    // Nobody waits for this one member of a group.
    if let refusal, !isForGroup { node.refuse(refusal, request) }
  }

  /// Remembers a request until it is answered; or returns the reason for refusing it.
  private func keep(
    _ request: Request, _ name: AttachFrame.RequestName, isForGroup: Bool
  ) -> ReplyCode? {
    let limits = account.limits
    return state.withLock { state in
      // A server may get requests before it is known as this process's, and after that.
      guard state.ending == nil, state.entities[request.server] != nil else {
        return .nonexistentEntity
      }
      guard state.requests.take(request.principal) else { return .busy }
      if isForGroup {
        state.groupRequests.append(name)
        if state.groupRequests.count > limits.groupRequestsOfProcess,
          state.takeRequest(state.groupRequests.removeFirst()) != nil
        {
          account.requests.give()
        }
      }
      guard account.requests.take() else {
        state.requests.give(request.principal)
        return .busy
      }
      var kept = request
      kept.message.segment = []
      if let old = state.entities[request.server]!.requests.updateValue(kept, forKey: name) {
        account.requests.give()
        state.requests.give(old.principal)
      }
      return nil
    }
  }
}

extension AttachedProcess.State {
  /// Removes a request that is answered, or whose client no longer waits.
  mutating func takeRequest(_ name: AttachFrame.RequestName) -> Request? {
    guard let request = entities[name.server]?.requests.removeValue(forKey: name) else {
      return nil
    }
    requests.give(request.principal)
    return request
  }
}
