import VProtocol
import VRuntime

/// The operations on pipes: what the server's procedure does.
final class PipeOperations: Sendable {
  /// The context of all pipes; that of a pipe is its number.
  static let root = ContextID(rawValue: 1)

  let board: PipeBoard
  private let owners: LifeWatch
  private var backplane: any Backplane { board.backplane }

  init(_ backplane: any Backplane) {
    let board = PipeBoard(backplane)
    self.board = board
    owners = LifeWatch(backplane, of: { board.owners }) { owner, state in
      if state == nil { board.release(of: owner) }
    }
  }

  func serve(_ request: Request) {
    switch request.message.mcb.code {
    case QueryObject.code:
      backplane.serve(QueryObject.self, request) { operation in
        named(operation.name, request) { backplane.reply(descriptor($0), to: request) }
      }
    case ModifyObject.code:
      backplane.serve(ModifyObject.self, request) { operation in
        named(operation.name, request) { modify($0, operation.modification, request) }
      }
    case CheckAccess.code:
      backplane.serve(CheckAccess.self, request) { operation in
        named(operation.name, request) { object in
          let isAllowed = operation.mask & ~rights(of: object, request) == 0
          backplane.reply(Message(reply: isAllowed ? .ok : .noPermission), to: request)
        }
      }
    case ReadLink.code: backplane.refuse(.badArguments, request)
    case QueryStore.code: backplane.reply(QueryStore.Answer(), to: request)
    case AddName.code, LinkName.code, RenameObject.code: backplane.refuse(.notSupported, request)
    case RemoveName.code: backplane.serve(RemoveName.self, request) { remove($0, request) }
    case CreateInstance.code:
      backplane.serve(CreateInstance.self, request) { create($0, request) }
    case QueryInstance.code...SyncInstance.code: serveInstance(request)
    case CancelWait.code: backplane.serve(CancelWait.self, request) { cancel($0, request) }
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  /// Ends the wait of a client, for whoever sent the request that waits.
  private func cancel(_ operation: CancelWait, _ request: Request) {
    let wait = board.look { state in
      state.pending.first {
        $0.value.request.client == operation.client
          && $0.value.request.principal == request.principal
      }?.key
    }
    guard let wait else { return backplane.refuse(.notFound, request) }
    board.update { $0.table.cancel(wait, .interrupted) }
    backplane.reply(Done(), to: request)
  }
}

// MARK: - Names

extension PipeOperations {
  private enum Object {
    case root
    case pipe(PipeTable.PipeID, PipeTable.Entry)
    /// A name that a pipe could have.
    case free([UInt8])
    case refused(ReplyCode)
  }

  private func find(_ name: ContextName) -> Object {
    let components = name.rest.split(separator: UInt8(ascii: "/")).map(Array.init)
    return board.look { state in
      if name.context != .none && name.context != Self.root {
        guard let entry = state.table[name.context.rawValue], entry.name != nil else {
          return .refused(.invalidContext)
        }
        return components.isEmpty
          ? .pipe(name.context.rawValue, entry) : .refused(.notContext)
      }
      guard let first = components.first else { return .root }
      guard first.count <= Descriptor.nameBytesMax else { return .refused(.nameTooLong) }
      guard let identifier = state.table[first], let entry = state.table[identifier] else {
        return components.count == 1 ? .free(first) : .refused(.notFound)
      }
      return components.count == 1 ? .pipe(identifier, entry) : .refused(.notContext)
    }
  }

  /// Calls `body` with the object of a name, if there is one.
  private func named(_ name: ContextName, _ request: Request, _ body: (Object) -> Void) {
    switch find(name) {
    case .refused(let code): backplane.refuse(code, request)
    case .free: backplane.refuse(.notFound, request)
    case let object: body(object)
    }
  }

  private func descriptor(_ object: Object) -> Descriptor {
    guard case .pipe(let identifier, let entry) = object else { return board.root() }
    return board.descriptor(identifier, entry)
  }

  private func rights(of object: Object, _ request: Request) -> UInt32 {
    guard case .pipe(_, let entry) = object else { return 7 }
    return PipeBoard.rights(entry, request.principal)
  }

  private func remove(_ operation: RemoveName, _ request: Request) {
    named(operation.name, request) { object in
      guard case .pipe(let identifier, let entry) = object else {
        return backplane.refuse(.notOwner, request)
      }
      guard !operation.isContext else { return backplane.refuse(.notContext, request) }
      guard PipeBoard.isOwner(entry, request.principal) else {
        return backplane.refuse(.notOwner, request)
      }
      board.update { $0.table.remove(identifier) }
      backplane.reply(Done(), to: request)
    }
  }

  /// Permissions for the owner, an owner for root; a size or times mean nothing to a pipe.
  private func modify(_ object: Object, _ modification: Modification, _ request: Request) {
    guard case .pipe(let identifier, var entry) = object else {
      return backplane.refuse(.notOwner, request)
    }
    let isOwner = PipeBoard.isOwner(entry, request.principal)
    if modification.permissions != nil || modification.owner != nil || modification.group != nil {
      guard isOwner, modification.owner == nil || request.principal?.user == "root" else {
        return backplane.refuse(.notOwner, request)
      }
    } else if !isOwner && rights(of: object, request) & 2 == 0 {
      return backplane.refuse(.noPermission, request)
    }
    board.update { state in
      guard let now = state.table[identifier] else { return [] }
      entry = now
      if let permissions = modification.permissions { entry.permissions = permissions & 0o777 }
      if let owner = modification.owner, owner.utf8.count <= Descriptor.nameBytesMax {
        entry.owner = Principal(user: owner, host: request.principal?.host ?? "")
      }
      entry.changed = backplane.wallClock
      state.table[identifier] = entry
      return []
    }
    backplane.reply(board.descriptor(identifier, entry), to: request)
  }
}

// MARK: - Opening

extension PipeOperations {
  private func create(_ operation: CreateInstance, _ request: Request) {
    let mode = operation.mode
    guard board.hasRoom(for: request.principal) else {
      return backplane.refuse(.noServerResources, request)
    }
    switch find(operation.name) {
    case .refused(let code): backplane.refuse(code, request)
    case .root:
      guard mode.contains(.directory) else { return backplane.refuse(.isContext, request) }
      list(operation, request)
    case .pipe(let identifier, let entry):
      if mode.contains([.create, .exclusive]) {
        return backplane.refuse(.duplicateName, request)
      }
      if mode.contains(.directory) { return backplane.refuse(.notContext, request) }
      let wanted: UInt32 =
        (mode.contains(.read) ? 4 : 0) | (mode.isDisjoint(with: [.write, .truncate]) ? 0 : 2)
        | (mode.contains(.execute) ? 1 : 0)
      guard wanted & ~PipeBoard.rights(entry, request.principal) == 0 else {
        return backplane.refuse(.noPermission, request)
      }
      open(operation, request) { _ in identifier }
    case .free(let name):
      guard mode.contains(.create) else { return backplane.refuse(.notFound, request) }
      guard let owner = request.principal, owner.user.utf8.count <= Descriptor.nameBytesMax else {
        return backplane.refuse(.noPermission, request)
      }
      open(operation, request) { [backplane] state in
        // It may have been made meanwhile.
        state.table[name]
          ?? state.table.make(
            name, owner: owner, permissions: operation.permissions & 0o777, at: backplane.wallClock)
      }
    }
  }

  /// Opens what `find` finds, or makes: that is answered at once, since in Linux the whole context
  /// waits for it.
  private func open(
    _ operation: CreateInstance, _ request: Request,
    _ find: (inout PipeBoard.State) -> PipeTable.PipeID?
  ) {
    var ends: Pipe.Ends = operation.mode.contains(.read) ? .reads : []
    if operation.mode.contains(.write) { ends.insert(.writes) }
    guard !ends.isEmpty else { return backplane.refuse(.modeNotSupported, request) }
    let isMaking = operation.mode.contains(.create)
    board.update(
      PipeBoard.Pending(request: request, opening: operation, isMaking: isMaking)
    ) { state, wait in
      guard let identifier = find(&state) else {
        return [Pipe.Action(wait: wait, outcome: .refused(.noServerResources))]
      }
      return state.table.open(
        identifier, ends, isMaking: isMaking,
        isNonBlocking: operation.mode.contains(.nonBlocking), wait)
    }
    owners.watchLater()
  }

  private func list(_ operation: CreateInstance, _ request: Request) {
    let root = board.root()
    let records = board.look { state in
      state.table.all.map { board.descriptor($0.0, $0.1) }
    }
    let opened = PipeBoard.Opened(
      object: .listing(records), mode: operation.mode,
      owner: operation.owner.isValid ? operation.owner : request.client,
      principal: request.principal)
    let answer = CreateInstance.Answer(
      instance: board.add(opened), attributes: root.attributes, isNew: false, descriptor: root)
    backplane.reply(answer, to: request)
    owners.watchLater()
  }
}

// MARK: - Instances

extension PipeOperations {
  private func serveInstance(_ request: Request) {
    let identifier = InstanceID(rawValue: request.message.mcb.pair(1))
    let code = request.message.mcb.code
    guard let opened = board.look({ $0.opened[identifier] }) else {
      let isRelease = code == ReleaseInstance.code
      return backplane.refuse(isRelease ? .ok : .invalidFileID, request)
    }
    guard opened.principal?.host == request.principal?.host else {
      return backplane.refuse(.noPermission, request)
    }
    switch code {
    case QueryInstance.code: backplane.reply(descriptor(object(of: opened)), to: request)
    case ModifyInstance.code:
      backplane.serve(ModifyInstance.self, request) {
        modify(object(of: opened), $0.modification, request)
      }
    case ReadInstance.code:
      backplane.serve(ReadInstance.self, request) { read($0, opened, request) }
    case WriteInstance.code:
      backplane.serve(WriteInstance.self, request) { operation in
        board.update(PipeBoard.Pending(request: request)) { state, wait in
          state.table.write(identifier, operation.data, wait)
        }
      }
    case ReleaseInstance.code:
      board.update { state in
        state.opened[identifier] = nil
        return state.table.release(identifier)
      }
      backplane.reply(Done(), to: request)
    default: backplane.reply(Done(), to: request)
    }
  }

  private func object(of opened: PipeBoard.Opened) -> Object {
    guard case .pipe(let identifier) = opened.object,
      let entry = board.look({ $0.table[identifier] })
    else { return .root }
    return .pipe(identifier, entry)
  }

  /// A pipe has no positions: every read is of what comes next.
  private func read(
    _ operation: ReadInstance, _ opened: PipeBoard.Opened, _ request: Request
  ) {
    let count = min(operation.count, Message.segmentBytesMax)
    guard case .listing(let records) = opened.object else {
      return board.update(PipeBoard.Pending(request: request)) { state, wait in
        state.table.read(operation.instance, count: count, wait)
      }
    }
    var writer = SegmentWriter()
    for (index, record) in records.enumerated()
      .dropFirst(Int(clamping: operation.position))
    {
      var record = record
      record.nextPosition = UInt64(index + 1)
      guard writer.bytes.count + record.byteCount <= count else {
        if writer.bytes.isEmpty { return backplane.refuse(.badByteCount, request) }
        break
      }
      record.emit(into: &writer)
    }
    backplane.reply(ReadInstance.Answer(data: writer.bytes), to: request)
  }
}
