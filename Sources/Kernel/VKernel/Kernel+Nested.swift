import VProtocol
import VTransport

/// Nested calls: what a kernel does in place of the 16th forward, for which ForwardCount has no
/// room.
///
/// The request is sent as a transaction of an entity that is made for it, and the response is
/// given to the client (RFC 1045 2.15). That entity's number tells all kernels that it is nested,
/// and the requests of such an entity are not nested again: every chain ends, after 31 forwards at
/// most.
extension Kernel {
  /// Sends the request of a waiting client to `target` and answers it with the response.
  ///
  /// The next server can be told only who asks if that is a client of this host: no host speaks
  /// for the users of another one.
  mutating func nest(
    _ request: Request, _ message: Message, to target: EntityID, _ step: inout Step
  ) {
    endUnwantedCalls(&step)
    guard isAwaited(request) else { return }
    guard !request.client.isNested else {
      return reply(Message(reply: .vmtpError), to: request, &step)
    }
    let own = nested.values.count { kernel(of: $0.client) == kernel(of: request.client) }
    guard Limits.hasRoom(own, used: nested.count, of: Limits.nestedCalls) else {
      return reply(Message(reply: .busy), to: request, &step)
    }
    let known = request.isLocal ? entities[request.client] : nil
    let client = makeNestedClient(user: known?.user ?? "", marks: known?.marks ?? [])
    guard client.isValid else { return reply(Message(reply: .busy), to: request, &step) }
    var kept = request
    kept.message.segment = []
    nested[client] = kept
    send(message, from: client, to: target, limit: nil, &step)
  }

  /// The end of a transaction: for its client, or, if it was nested, for the client of the request
  /// that was to be forwarded.
  mutating func complete(
    _ client: EntityID, server: EntityID, _ message: Message, _ step: inout Step
  ) {
    guard client.isNested, let request = nested.removeValue(forKey: client) else {
      return step.append(.complete(client: client, server: server, message))
    }
    retire(client, &step)
    reply(message, to: request, &step)
  }

  /// Whether a local client is of this host, and no nested call of another host's client.
  func isOfThisHost(_ client: EntityID) -> Bool {
    !client.isNested || nested[client]?.isLocal == true
  }

  /// Ends the nested calls whose clients no longer wait.
  ///
  /// Only here, where there may be one more: so one client that begins anew again and again has one
  /// of them.
  private mutating func endUnwantedCalls(_ step: inout Step) {
    for (client, request) in nested where !isAwaited(request) {
      nested[client] = nil
      retire(client, &step)
    }
  }

  /// Whether a client still waits for the answer of this kernel's server.
  private func isAwaited(_ request: Request) -> Bool {
    if isHere(request.client) { return isWaiting(request.client, for: request.transaction) }
    guard let record = records[RecordKey(request)] else { return false }
    return record.id == request.transaction && record.isProcessing
  }
}
