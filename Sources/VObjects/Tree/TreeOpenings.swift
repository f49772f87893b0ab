import Synchronization
import VProtocol
import VRuntime

/// Opening by name, and the operations on what is open.
extension TreeOperations {
  func create(_ operation: CreateInstance, _ caller: TreeCaller, _ request: Request) {
    let opening = TreeOpening(
      mode: operation.mode, caller: caller,
      owner: operation.owner.isValid ? operation.owner : request.client)
    find(operation.name) { [self] found in
      switch found {
      case .refused(let code): backplane.refuse(code, request)
      case .free where operation.mode.contains(.create):
        make(
          operation.name, kind: .file, permissions: operation.permissions, caller, request
        ) { [self] path, object in
          // Who makes it may open it, whatever it will allow to others.
          open(path, object, opening, isNew: true, request)
        }
      case .free: backplane.refuse(.notFound, request)
      case .object(let path, let object, _):
        if operation.mode.contains([.create, .exclusive]) {
          return backplane.refuse(.duplicateName, request)
        }
        let mode = operation.mode
        let wanted: UInt32 =
          (mode.isDisjoint(with: [.read, .directory]) ? 0 : 4)
          | (mode.isDisjoint(with: [.write, .truncate]) ? 0 : 2)
          | (mode.contains(.execute) ? 1 : 0)
        guard wanted & ~object.rights(of: caller) == 0 || object.kind != .file && wanted == 4
        else { return backplane.refuse(.noPermission, request) }
        open(path, object, opening, isNew: false, request)
      }
    }
  }

  private func open(
    _ path: String, _ object: TreeObject, _ opening: TreeOpening, isNew: Bool, _ request: Request
  ) {
    let finish: @Sendable (TreeInstance.Content) -> Void = { [self] content in
      add(
        TreeInstance(path, content, opening, openedAt: backplane.wallClock), object,
        isNew: isNew, request)
    }
    switch object {
    case .context(let context):
      guard opening.mode.contains(.directory) else { return backplane.refuse(.isContext, request) }
      let list: @Sendable () -> Void = { [self] in finish(.records(records(of: context, path))) }
      if let prepare = context.prepare { prepare(nil, list) } else { list() }
    case _ where opening.mode.contains(.directory): backplane.refuse(.notContext, request)
    case .link: backplane.refuse(.tooManyLinks, request)
    case .text(let text):
      let make: @Sendable () -> Void = { [self] in
        let octets = self.text(of: text, path, opening.caller)
        finish(.text(Array(octets.utf8), changedAt: changedAt(path, octets), text))
      }
      if let prepare = text.prepare { prepare(make) } else { make() }
    case .file(let file):
      file.open(opening) { [self] result in
        switch result {
        case .success(let session): finish(.session(session))
        case .failure(let refusal): refuse(refusal, request)
        }
      }
    }
  }

  private func add(
    _ instance: TreeInstance, _ object: TreeObject, isNew: Bool, _ request: Request
  ) {
    guard let identifier = instances.add(instance) else {
      if case .session(let session) = instance.content { session.close() }
      return backplane.refuse(.noServerResources, request)
    }
    owners.watchLater()
    let descriptor = descriptor(instance.path, object, instance.caller, as: instance)
    backplane.reply(
      CreateInstance.Answer(
        instance: identifier, attributes: descriptor.attributes, isNew: isNew,
        descriptor: descriptor), to: request)
  }

  private func records(of context: TreeContext, _ path: String) -> [Descriptor] {
    context.names().compactMap { name in
      context.object(name).map { record(path.isEmpty ? name : path + "/" + name, $0) }
    }
  }
}

// MARK: - Instances

extension TreeOperations {
  /// Calls that wait at once; each keeps a record of its client.
  private static let callsMax = 4096

  func serveInstance(_ request: Request, _ caller: TreeCaller) {
    let identifier = InstanceID(rawValue: request.message.mcb.pair(1))
    guard let instance = instances[identifier] else {
      let isRelease = request.message.mcb.code == ReleaseInstance.code
      return backplane.refuse(isRelease ? .ok : .invalidFileID, request)
    }
    guard instance.caller.principal.host == caller.principal.host else {
      return backplane.refuse(.noPermission, request)
    }
    switch request.message.mcb.code {
    case QueryInstance.code:
      object(of: instance, request) { [self] object in
        backplane.reply(
          descriptor(instance.path, object, instance.caller, as: instance), to: request)
      }
    case ModifyInstance.code:
      backplane.serve(ModifyInstance.self, request) { operation in
        object(of: instance, request) { [self] object in
          modify(instance.path, object, operation.modification, caller, request)
        }
      }
    case ReadInstance.code:
      backplane.serve(ReadInstance.self, request) { read($0, instance, request) }
    case WriteInstance.code:
      backplane.serve(WriteInstance.self, request) { write($0, instance, request) }
    case ReleaseInstance.code:
      instances.remove(identifier)
      backplane.reply(Done(), to: request)
    default: backplane.reply(Done(), to: request)
    }
  }

  private func object(
    of instance: TreeInstance, _ request: Request, _ body: @escaping @Sendable (TreeObject) -> Void
  ) {
    find(ContextName(.none, Array(instance.path.utf8))) { [self] found in
      guard case .object(_, let object, _) = found else {
        return backplane.refuse(.invalidFileID, request)
      }
      body(object)
    }
  }

  private func read(_ operation: ReadInstance, _ instance: TreeInstance, _ request: Request) {
    guard !instance.mode.isDisjoint(with: [.read, .directory, .execute]) else {
      return backplane.refuse(.notReadable, request)
    }
    let count = min(operation.count, Message.segmentBytesMax)
    switch instance.content {
    case .records(let records):
      guard let filled = Self.fill(records, from: operation.position, count) else {
        return backplane.refuse(.badByteCount, request)
      }
      backplane.reply(ReadInstance.Answer(data: filled), to: request)
    case .text(let octets, _, _):
      let start = Int(min(operation.position, UInt64(octets.count)))
      backplane.reply(
        ReadInstance.Answer(data: Array(octets[start...].prefix(count))), to: request)
    case .session(let session):
      call(operation.instance, instance, request) {
        session.read(count, at: operation.position, $0)
      }
    }
  }

  /// As many whole records as fit; nil where not even one does.
  private static func fill(
    _ records: [Descriptor], from position: UInt64, _ count: Int
  ) -> [UInt8]? {
    let start = Int(min(position, UInt64(records.count)))
    var writer = SegmentWriter()
    for (index, record) in records.enumerated().dropFirst(start) {
      var record = record
      record.nextPosition = UInt64(index + 1)
      guard writer.bytes.count + record.byteCount <= count else {
        return writer.bytes.isEmpty ? nil : writer.bytes
      }
      record.emit(into: &writer)
    }
    return writer.bytes
  }

  private func write(_ operation: WriteInstance, _ instance: TreeInstance, _ request: Request) {
    guard instance.mode.contains(.write) else { return backplane.refuse(.notWriteable, request) }
    switch instance.content {
    case .records: backplane.refuse(.notWriteable, request)
    case .text(_, _, let text):
      let octets = operation.data.last == 0x0A ? operation.data.dropLast() : operation.data[...]
      let (path, caller, count) = (instance.path, instance.caller, operation.data.count)
      let done: TreeOutcome = { [self] refusal in
        refused.withLock { $0.note(refusal, path, caller.principal) }
        if let refusal { return refuse(refusal, request) }
        backplane.reply(WriteInstance.Answer(count: count, size: 0), to: request)
      }
      guard let line = String(validating: octets, as: UTF8.self), !octets.contains(0x0A) else {
        return done(Refusal(.badArguments, "one line of text at a time"))
      }
      guard let command = text.command else { return done(Refusal(.noPermission)) }
      command(TreeText.Line(text: line, caller: caller), done)
    case .session(let session):
      call(operation.instance, instance, request) {
        session.write(operation.data, at: operation.position, $0)
      }
    }
  }

  /// Hands a call to a session, and keeps it until it is answered.
  private func call(
    _ identifier: InstanceID, _ instance: TreeInstance, _ request: Request,
    _ body: (TreeCall) -> Void
  ) {
    guard instances.waitCount < Self.callsMax else {
      return backplane.refuse(.noServerResources, request)
    }
    let call = TreeCall(request, instance, backplane) { [instances] in
      instances.remove($0)
    }
    guard instances.add(call, in: identifier) else {
      return backplane.refuse(.invalidFileID, request)
    }
    body(call)
  }

  /// Ends the wait of a client, for whoever sent the request that waits.
  func cancel(_ operation: CancelWait, _ request: Request) {
    guard let call = instances.call(of: operation.client),
      call.request.principal == request.principal
    else { return backplane.refuse(.notFound, request) }
    call.cancel(.interrupted)
    backplane.reply(Done(), to: request)
  }
}
