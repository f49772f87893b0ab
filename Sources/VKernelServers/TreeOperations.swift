import Synchronization
import VProtocol
import VRuntime

/// The operations on a tree: what its server's procedure does.
final class TreeOperations: Sendable {
  let instances = TreeInstances()
  private let backplane: any Backplane
  private let root: TreeContext
  private let contexts = Mutex(TreeContexts())
  private let owners: LifeWatch
  /// What does not change has this time.
  private let startedAt: Int64
  private let changes = Mutex(TextChanges())

  init(_ backplane: any Backplane, _ root: TreeContext) {
    self.backplane = backplane
    self.root = root
    startedAt = backplane.wallClock
    owners = LifeWatch(backplane, of: { [instances] in instances.owners }) {
      [instances] owner, state in
      if state == nil { instances.removeAll(of: owner) }
    }
  }

  func serve(_ request: Request) {
    switch request.message.mcb.code {
    case QueryObject.code:
      named(QueryObject.self, request, { $0.name }) { path, object, _ in
        backplane.reply(descriptor(path, object, request), to: request)
      }
    case ModifyObject.code:
      named(ModifyObject.self, request, { $0.name }) { path, object, operation in
        modify(path, object, operation.modification, request)
      }
    case CheckAccess.code:
      named(CheckAccess.self, request, { $0.name }) { _, object, operation in
        let isAllowed = operation.mask & ~rights(of: object, request) == 0
        backplane.reply(Message(reply: isAllowed ? .ok : .noPermission), to: request)
      }
    case ReadLink.code:
      named(ReadLink.self, request, { $0.name }) { _, _, _ in
        backplane.refuse(.badArguments, request)
      }
    case QueryStore.code: backplane.reply(QueryStore.Answer(), to: request)
    case AddName.code, LinkName.code, RemoveName.code, RenameObject.code:
      backplane.refuse(.notOwner, request)
    case CreateInstance.code:
      backplane.serve(CreateInstance.self, request) { create($0, request) }
    case QueryInstance.code...SyncInstance.code: serveInstance(request)
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  // MARK: names

  /// Calls `body` with the object named and its path below the root.
  private func named<Op: Operation>(
    _ type: Op.Type, _ request: Request, _ name: (Op) -> ContextName,
    _ body: (String, TreeObject, Op) -> Void
  ) {
    backplane.serve(type, request) { operation in
      switch find(name(operation)) {
      case .success(let (path, object)): body(path, object, operation)
      case .failure(let refusal): backplane.refuse(refusal.code, request)
      }
    }
  }

  private struct Refusal: Error { var code: ReplyCode }

  private func find(_ name: ContextName) -> Result<(String, TreeObject), Refusal> {
    guard var path = contexts.withLock({ $0.path(of: name.context) }) else {
      return .failure(Refusal(code: .invalidContext))
    }
    guard let rest = String(validating: name.rest, as: UTF8.self) else {
      return .failure(Refusal(code: .notFound))
    }
    for component in rest.split(separator: "/") {
      path += path.isEmpty ? component : "/" + component
    }
    var object = TreeObject.context(root)
    for component in path.split(separator: "/") {
      guard case .context(let context) = object else { return .failure(Refusal(code: .notContext)) }
      guard let next = context.object(String(component)) else {
        return .failure(Refusal(code: .notFound))
      }
      object = next
    }
    return .success((path, object))
  }

  // MARK: what objects look like

  /// An object as it is now, or as the one who asks has it open.
  private func descriptor(
    _ path: String, _ object: TreeObject, _ request: Request
  ) -> Descriptor {
    descriptor(path, object, as: instances.newest(of: path, openedBy: request.principal))
  }

  private func descriptor(
    _ path: String, _ object: TreeObject, as instance: TreeInstance?
  ) -> Descriptor {
    var descriptor = record(path, object)
    descriptor.context = contexts.withLock { $0.context(of: path) }
    descriptor.links = 1
    var time = startedAt
    switch object {
    case .context:
      descriptor.permissions = 0o555
      descriptor.links = 2
      descriptor.attributes = [.readable, .variableBlock, .multiBlock]
    case .device(let device):
      descriptor.permissions = device.permissions
      descriptor.attributes = device.attributes
      descriptor.size = UInt64(device.size)
    case .text(let text):
      descriptor.permissions = text.command == nil ? 0o444 : 0o644
      descriptor.attributes = [.readable, .fixedLength, .randomAccess, .multiBlock]
      if text.command != nil { descriptor.attributes.insert(.writeable) }
      if let instance, case .text(let octets, let changed, _) = instance.content {
        descriptor.size = UInt64(octets.count)
        time = changed
      } else {
        let octets = text.make()
        descriptor.size = UInt64(octets.utf8.count)
        time = changedAt(path, octets)
      }
    }
    descriptor.modified = time
    descriptor.changed = time
    descriptor.accessed = time
    descriptor.born = startedAt
    return descriptor
  }

  private func changedAt(_ path: String, _ text: String) -> Int64 {
    changes.withLock { $0.time(of: path, text, at: backplane.wallClock) }
  }

  /// What a listing tells of an object.
  private func record(_ path: String, _ object: TreeObject) -> Descriptor {
    // FNV-1a: an object is the same one, by its name, over restarts of the node.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for octet in path.utf8 { hash = (hash ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
    let isContext = if case .context = object { true } else { false }
    var descriptor = Descriptor(
      kind: isContext ? .context : .file,
      identity: Descriptor.Identity(device: 0, inode: hash, generation: 0))
    descriptor.name = Array((path.split(separator: "/").last ?? "").utf8)
    return descriptor
  }

  /// What the one who asks may do: 4 read, 2 write, 1 execute.
  private func rights(of object: TreeObject, _ request: Request) -> UInt32 {
    switch object {
    case .context: 5
    case .device(let device): device.attributes.contains(.writeable) ? 6 : 4
    case .text(let text):
      text.command != nil
        && request.principal == Principal(user: "root", host: backplane.host) ? 6 : 4
    }
  }

  /// What programs do around writing is no error: cutting to a size and setting times.
  ///
  /// All else is.
  private func modify(
    _ path: String, _ object: TreeObject, _ modification: Modification, _ request: Request
  ) {
    guard rights(of: object, request) & 2 != 0, modification.permissions == nil,
      modification.owner == nil, modification.group == nil
    else { return backplane.refuse(.notOwner, request) }
    backplane.reply(descriptor(path, object, request), to: request)
  }

  // MARK: opening

  private func create(_ operation: CreateInstance, _ request: Request) {
    switch find(operation.name) {
    case .success(let (path, object)):
      if operation.mode.contains([.create, .exclusive]) {
        return backplane.refuse(.duplicateName, request)
      }
      if case .text(let text) = object, let prepare = text.prepare {
        return prepare { [self] in open(path, object, operation, request) }
      }
      open(path, object, operation, request)
    case .failure(let refusal):
      let isNew = refusal.code == .notFound && operation.mode.contains(.create)
      backplane.refuse(isNew ? .notOwner : refusal.code, request)
    }
  }

  private func open(
    _ path: String, _ object: TreeObject, _ operation: CreateInstance, _ request: Request
  ) {
    let mode = operation.mode
    let content: TreeInstance.Content
    switch object {
    case .context(let context):
      guard mode.contains(.directory) else { return backplane.refuse(.isContext, request) }
      content = .records(records(of: context, path))
    case _ where mode.contains(.directory): return backplane.refuse(.notContext, request)
    case .text(let text):
      let octets = text.make()
      content = .text(
        Array(octets.utf8), changedAt: changedAt(path, octets), command: text.command)
    case .device(let device): content = .device(device)
    }
    let wanted: UInt32 =
      (mode.isDisjoint(with: [.read, .directory]) ? 0 : 4)
      | (mode.isDisjoint(with: [.write, .truncate]) ? 0 : 2) | (mode.contains(.execute) ? 1 : 0)
    guard wanted & ~rights(of: object, request) == 0 else {
      return backplane.refuse(.noPermission, request)
    }
    let instance = TreeInstance(
      path, content, mode: mode,
      owner: operation.owner.isValid ? operation.owner : request.client,
      principal: request.principal, openedAt: backplane.wallClock)
    guard let identifier = instances.add(instance) else {
      return backplane.refuse(.noServerResources, request)
    }
    owners.watchLater()
    let descriptor = descriptor(path, object, as: instance)
    backplane.reply(
      CreateInstance.Answer(
        instance: identifier, attributes: descriptor.attributes, isNew: false,
        descriptor: descriptor), to: request)
  }

  private func records(of context: TreeContext, _ path: String) -> [Descriptor] {
    context.names().compactMap { name in
      context.object(name).map { record(path.isEmpty ? name : path + "/" + name, $0) }
    }
  }

  // MARK: instances

  private func serveInstance(_ request: Request) {
    let identifier = InstanceID(rawValue: request.message.mcb[1])
    guard let instance = instances[identifier] else {
      let isRelease = request.message.mcb.code == ReleaseInstance.code
      return backplane.refuse(isRelease ? .ok : .invalidFileID, request)
    }
    guard instance.principal?.host == request.principal?.host else {
      return backplane.refuse(.noPermission, request)
    }
    switch request.message.mcb.code {
    case QueryInstance.code, ModifyInstance.code:
      guard case .success(let (path, object)) = find(ContextName(.none, Array(instance.path.utf8)))
      else { return backplane.refuse(.invalidFileID, request) }
      if request.message.mcb.code == QueryInstance.code {
        return backplane.reply(descriptor(path, object, as: instance), to: request)
      }
      backplane.serve(ModifyInstance.self, request) {
        modify(path, object, $0.modification, request)
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

  private func read(_ operation: ReadInstance, _ instance: TreeInstance, _ request: Request) {
    guard !instance.mode.isDisjoint(with: [.read, .directory]) else {
      return backplane.refuse(.notReadable, request)
    }
    let count = min(operation.count, Message.segmentBytesMax)
    let data: [UInt8]
    switch instance.content {
    case .records(let records):
      guard let filled = fill(records, from: operation.position, count) else {
        return backplane.refuse(.badByteCount, request)
      }
      data = filled
    case .text(let octets, _, _): data = Self.part(of: octets, operation.position, count)
    case .device(.null): data = []
    case .device(.zero): data = [UInt8](repeating: 0, count: count)
    case .device(.random): data = unpredictable(count)
    case .device(.clock):
      let line = instance.line.withLock { line in
        if operation.position == 0 { line = Array(Device.clockLine(backplane.wallClock).utf8) }
        return line
      }
      data = Self.part(of: line, operation.position, count)
    }
    backplane.reply(ReadInstance.Answer(data: data), to: request)
  }

  private static func part(of octets: [UInt8], _ position: UInt64, _ count: Int) -> [UInt8] {
    let start = Int(min(position, UInt64(octets.count)))
    return Array(octets[start...].prefix(count))
  }

  private func unpredictable(_ count: Int) -> [UInt8] {
    var octets: [UInt8] = []
    octets.reserveCapacity(count + 8)
    while octets.count < count {
      let value = backplane.random()
      for shift in stride(from: 0, to: 64, by: 8) {
        octets.append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
      }
    }
    return Array(octets.prefix(count))
  }

  /// As many whole records as fit; nil where not even one does.
  private func fill(_ records: [Descriptor], from position: UInt64, _ count: Int) -> [UInt8]? {
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
    if case .text(_, _, let command) = instance.content {
      let line = String(decoding: operation.data, as: UTF8.self).split(separator: "\n").first ?? ""
      let code = command?(String(line)) ?? .noPermission
      guard code.isOK else { return backplane.refuse(code, request) }
    }
    backplane.reply(WriteInstance.Answer(count: operation.data.count, size: 0), to: request)
  }
}
