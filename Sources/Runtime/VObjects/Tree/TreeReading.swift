import Synchronization
import VProtocol
import VRuntime

/// The operations on instances.
extension TreeOperations {
  func serveInstance(_ request: Request, _ instance: Instance<TreeContent>) {
    let backplane = objects.backplane
    switch request.message.mcb.code {
    case QueryInstance.code:
      object(of: instance, request) { [self] object in
        backplane.reply(
          descriptor(instance.content.path, object, instance.caller, as: instance.content),
          to: request)
      }
    case ModifyInstance.code:
      backplane.serve(ModifyInstance.self, request) { operation in
        object(of: instance, request) { [self] object in
          modify(instance.content.path, object, operation.modification, instance.caller, request)
        }
      }
    case ReadInstance.code:
      backplane.serve(ReadInstance.self, request) { read($0, instance, request) }
    case WriteInstance.code:
      backplane.serve(WriteInstance.self, request) { write($0, instance, request) }
    case SyncInstance.code: backplane.reply(Done(), to: request)
    default: backplane.refuse(.notSupported, request)
    }
  }

  /// The object as it is now; `invalidFileID` if its name is gone.
  private func object(
    of instance: Instance<TreeContent>, _ request: Request,
    _ body: @escaping @Sendable (TreeObject) -> Void
  ) {
    find(instance.content.path, instance.caller) { [self] found in
      guard case .object(_, let object, _) = found else {
        return objects.backplane.refuse(.invalidFileID, request)
      }
      body(object)
    }
  }

  private func read(
    _ operation: ReadInstance, _ instance: Instance<TreeContent>, _ request: Request
  ) {
    guard instance.isReadable else { return objects.backplane.refuse(.notReadable, request) }
    let count = min(operation.count, Message.segmentBytesMax)
    switch instance.content.object {
    case .records(let records):
      do throws(Refusal) {
        let block = try Listing.block(of: records, from: operation.position, count)
        objects.backplane.reply(ReadInstance.Answer(data: block), to: request)
      } catch {
        objects.refuse(error, request)
      }
    case .text(let octets, _, _):
      let start = Int(min(operation.position, UInt64(octets.count)))
      objects.backplane.reply(
        ReadInstance.Answer(data: Array(octets[start...].prefix(count))), to: request)
    case .session(let session):
      let position = operation.position
      use(session, instance, request, when: [.readable, .ended]) {
        session.read(count, at: position, $0)
      }
    }
  }

  func look(
    _ operation: AwaitInstance, _ request: Request, _ instance: Instance<TreeContent>
  ) {
    guard case .session(let session) = instance.content.object else {
      return objects.backplane.reply(AwaitInstance.Answer(ready: instance.able), to: request)
    }
    call(instance, request) { call in
      if operation.isWaiting {
        session.wait(for: operation.wanted, call)
      } else {
        session.look { call.answer(ready: $0) }
      }
    }
  }

  /// Hands a call to a session; of an instance that never waits, only when the session is ready.
  private func use(
    _ session: any TreeSession, _ instance: Instance<TreeContent>, _ request: Request,
    when ready: Readiness, _ body: @escaping @Sendable (TreeCall) -> Void
  ) {
    call(instance, request) { call in
      guard instance.mode.contains(.nonBlocking) else { return body(call) }
      session.look {
        if $0.isDisjoint(with: ready) { call.refuse(Refusal(.wouldBlock)) } else { body(call) }
      }
    }
  }

  private func write(
    _ operation: WriteInstance, _ instance: Instance<TreeContent>, _ request: Request
  ) {
    guard instance.mode.contains(.write) else {
      return objects.backplane.refuse(.notWriteable, request)
    }
    switch instance.content.object {
    case .records: objects.backplane.refuse(.notWriteable, request)
    case .text(_, _, let text): write(operation, to: text, instance, request)
    case .session(let session):
      use(session, instance, request, when: [.writeable, .broken]) {
        session.write(operation.data, at: operation.position, $0)
      }
    }
  }

  private func write(
    _ operation: WriteInstance, to text: TreeText, _ instance: Instance<TreeContent>,
    _ request: Request
  ) {
    let octets = operation.data.last == 0x0A ? operation.data.dropLast() : operation.data[...]
    let (caller, count) = (instance.caller, operation.data.count)
    let name = Self.name(of: instance.content.path)
    let done: Outcome = { [self] refusal in
      refused.withLock { $0.note(refusal, name, caller.principal) }
      if let refusal { return objects.refuse(refusal, request) }
      objects.backplane.reply(WriteInstance.Answer(count: count, size: 0), to: request)
    }
    guard let line = String(validating: octets, as: UTF8.self), !octets.contains(0x0A) else {
      return done(Refusal(.badArguments, "one line of text at a time"))
    }
    guard let command = text.command else { return done(Refusal(.noPermission)) }
    command(TreeText.Line(text: line, caller: caller), done)
  }

  /// Gives a call to a session, and keeps it until it is answered.
  private func call(
    _ instance: Instance<TreeContent>, _ request: Request, _ body: (TreeCall) -> Void
  ) {
    do throws(Refusal) {
      body(try TreeCall(request, instance, objects))
    } catch {
      objects.refuse(error, request)
    }
  }
}
