import VObjects
import VProtocol
import VRuntime

/// Opening, and the operations on instances.
extension PipeOperations {
  func create(_ operation: CreateInstance, _ caller: Caller, _ request: Request) {
    do throws(Refusal) {
      try objects.instances.reserve(for: caller)
    } catch {
      return objects.refuse(error, request)
    }
    let pending = Pipes.Pending(request: request, caller: caller, opening: operation)
    if operation.mode.contains(.directory) { return list(operation, pending) }
    let now = backplane.wallClock
    // Finding the pipe, checking rights and opening are one step, because names may be given to
    // other pipes.
    pipes.begin(pending, opening: operation) { (state, wait) throws(Refusal) in
      let identifier = try pipe(for: operation, caller, at: now, &state.table)
      return try open(identifier, operation, wait, &state.table)
    }
  }

  /// The pipe to open, made if needed.
  private func pipe(
    for operation: CreateInstance, _ caller: Caller, at now: Int64, _ table: inout PipeTable
  ) throws(Refusal) -> PipeTable.PipeID {
    let mode = operation.mode
    switch find(operation.name, in: table) {
    case .refused(let code): throw Refusal(code)
    case .root: throw Refusal(.isContext)
    case .pipe(let identifier, let entry):
      if mode.contains([.create, .exclusive]) {
        throw Refusal(.duplicateName, "\(place(entry.name)) is there")
      }
      let wanted = ObjectServer<PipeContent>.rights(wantedBy: operation, caller)
      guard wanted & ~entry.rights(of: caller) == 0 else {
        throw Refusal(.noPermission, "\(place(entry.name)) belongs to \(entry.owner)")
      }
      return identifier
    case .free(let name):
      guard mode.contains(.create) else {
        throw Refusal(.notFound, "there is no \(place(name))")
      }
      guard Self.isName(name) else {
        throw Refusal(.badArguments, "\(place(name)): no such name is given to a pipe")
      }
      guard !mode.contains(.execute) else {
        throw Refusal(.modeNotSupported, "\(place(name)): a pipe is not executed")
      }
      guard Self.isOwner(caller.user) else {
        throw Refusal(.noPermission, "\(caller.user) cannot own \(place(name))")
      }
      let identifier = table.make(
        name, owner: caller.user, maker: caller.principal,
        permissions: operation.permissions & 0o777, at: now)
      guard let identifier else {
        throw Refusal(
          .noServerResources, "\(caller.principal) has too many pipes of \(backplane.host)")
      }
      return identifier
    }
  }

  /// A pipe as a name of this host.
  private func place(_ name: [UInt8]?) -> String { "pipe/\(backplane.host)/\(Name(name ?? []))" }

  /// With `create` it is answered at once, because Linux blocks the whole directory meanwhile.
  private func open(
    _ identifier: PipeTable.PipeID, _ operation: CreateInstance, _ wait: Pipe.Wait,
    _ table: inout PipeTable
  ) throws(Refusal) -> [Pipe.Action] {
    var ends: Pipe.Ends = operation.mode.contains(.read) ? .reads : []
    if operation.mode.contains(.write) { ends.insert(.writes) }
    guard !ends.isEmpty else {
      throw Refusal(.modeNotSupported, "a pipe is opened to read, to write, or both")
    }
    return table.open(
      identifier, ends, isMaking: operation.mode.contains(.create),
      isNonBlocking: operation.mode.contains(.nonBlocking), wait)
  }

  private func list(_ operation: CreateInstance, _ pending: Pipes.Pending) {
    switch pipes.look({ find(operation.name, in: $0.table) }) {
    case .refused(let code): pipes.fail(pending, Refusal(code))
    case .free: pipes.fail(pending, Refusal(.notFound))
    case .pipe: pipes.fail(pending, Refusal(.notContext))
    case .root:
      let root = pipes.rootDescriptor()
      let instance = objects.enter(.context, for: operation, pending.caller)
      backplane.reply(
        CreateInstance.Answer(
          instance: instance.id, attributes: root.attributes, isNew: false, descriptor: root),
        to: pending.request)
    }
  }
}

// MARK: - Instances

extension PipeOperations {
  func serveInstance(_ request: Request, _ instance: Instance<PipeContent>) {
    switch request.message.mcb.code {
    case QueryInstance.code: backplane.reply(descriptor(object(of: instance)), to: request)
    case ModifyInstance.code:
      backplane.serve(ModifyInstance.self, request) {
        modify(object(of: instance), $0.modification, instance.caller, request)
      }
    case ReadInstance.code:
      backplane.serve(ReadInstance.self, request) { read($0, instance, request) }
    case WriteInstance.code:
      backplane.serve(WriteInstance.self, request) { operation in
        guard case .end(let end, _) = instance.content else {
          return backplane.refuse(.notWriteable, request)
        }
        let pending = Pipes.Pending(request: request, caller: instance.caller)
        pipes.begin(pending, in: instance) { state, wait in
          state.table.write(end, operation.data, wait)
        }
      }
    case SyncInstance.code: backplane.reply(Done(), to: request)
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  func look(
    _ operation: AwaitInstance, _ request: Request, _ instance: Instance<PipeContent>
  ) {
    guard case .end(let end, _) = instance.content else {
      return backplane.reply(AwaitInstance.Answer(ready: instance.able), to: request)
    }
    guard operation.isWaiting else {
      guard let ready = pipes.look({ $0.table.readiness(of: end) }) else {
        return backplane.refuse(.invalidFileID, request)
      }
      return backplane.reply(AwaitInstance.Answer(ready: ready), to: request)
    }
    let pending = Pipes.Pending(request: request, caller: instance.caller)
    pipes.begin(pending, in: instance) { state, wait in
      state.table.look(end, for: operation.wanted, wait)
    }
  }

  private func object(of instance: Instance<PipeContent>) -> Object {
    guard case .end(_, let pipe) = instance.content,
      let entry = pipes.look({ $0.table[pipe] })
    else { return .root }
    return .pipe(pipe, entry)
  }

  /// A pipe has no positions: every read gets the next block.
  private func read(
    _ operation: ReadInstance, _ instance: Instance<PipeContent>, _ request: Request
  ) {
    let count = min(operation.count, Message.segmentBytesMax)
    switch instance.content {
    case .end(let end, _):
      let pending = Pipes.Pending(request: request, caller: instance.caller)
      pipes.begin(pending, in: instance) { state, wait in
        state.table.read(end, count: count, wait)
      }
    case .context:
      do throws(Refusal) {
        let block = try pipes.records(from: operation.position, count)
        backplane.reply(ReadInstance.Answer(data: block), to: request)
      } catch {
        objects.refuse(error, request)
      }
    }
  }

  func label(_ instance: Instance<PipeContent>) -> String {
    let context = "pipe/\(backplane.host)"
    guard case .end(_, let pipe) = instance.content else { return context }
    return context + "/\(Name(pipes.look { $0.table[pipe]?.name } ?? []))"
  }
}
