internal import Synchronization
internal import VProtocol
internal import VRuntime

/// `/v/.v`: what this mount knows of itself, as text files.
///
/// Not listed in the root.
///
/// A manager like any other, so that programs read it by the same requests as everything else. A
/// file is made anew when it is opened and then stays as it is, so one reader sees one state.
final class OwnFiles: Sendable {
  private struct State {
    var instances: [InstanceID: [UInt8]] = [:]
    var lastInstance: UInt32 = 0
  }

  /// The name of the directory in the root of the mount.
  static let name = Array(".v".utf8)
  /// Its context; the files follow it by number.
  static let root = ContextID(rawValue: 1)
  /// Files open at once.
  private static let instancesMax = 1024

  let server: EntityID
  private let backplane: any Backplane
  private let texts: [(name: [UInt8], make: @Sendable () -> String)]
  private let state = Mutex(State())

  /// `texts`: names and what makes their contents.
  init(_ backplane: any Backplane, _ texts: [(String, @Sendable () -> String)]) {
    self.backplane = backplane
    self.texts = texts.map { (Array($0.0.utf8), $0.1) }
    let cell = Cell()
    server = backplane.makeServer(knowsPrincipals: true) { cell.files?.serve($0) }
    cell.set(self)
  }

  private func serve(_ request: Request) {
    switch request.message.mcb.code {
    case Naming.queryObject:
      named(QueryObject.self, request, { $0.name }) { number, _ in
        backplane.reply(descriptor(number), to: request)
      }
    case Naming.checkAccess:
      named(CheckAccess.self, request, { $0.name }) { number, operation in
        let denied: UInt32 = number == 0 ? 2 : 3
        if operation.mask & denied != 0 { return backplane.refuse(.noPermission, request) }
        backplane.reply(Done(), to: request)
      }
    case Naming.queryStore: backplane.reply(QueryStore.Answer(), to: request)
    case UIO.createInstance:
      named(CreateInstance.self, request, { $0.name }) { open($0, $1, request) }
    case UIO.readInstance:
      backplane.serve(ReadInstance.self, request) { read($0, request) }
    case UIO.queryInstance:
      backplane.serve(QueryInstance.self, request) { operation in
        let number = Int(operation.instance.rawValue >> 16)
        guard number <= texts.count else { return backplane.refuse(.invalidFileID, request) }
        backplane.reply(descriptor(number), to: request)
      }
    case UIO.releaseInstance:
      backplane.serve(ReleaseInstance.self, request) { operation in
        state.withLock { _ = $0.instances.removeValue(forKey: operation.instance) }
        backplane.reply(Done(), to: request)
      }
    case UIO.syncInstance: backplane.reply(Done(), to: request)
    case Naming.listAttributes:
      backplane.reply(ListAttributes.Answer(data: []), to: request)
    default: backplane.refuse(.notOwner, request)
    }
  }

  /// Calls `body` with the number of the object named: 0 is the directory.
  private func named<Op: Operation>(
    _ type: Op.Type, _ request: Request, _ name: (Op) -> ContextName, _ body: (Int, Op) -> Void
  ) {
    backplane.serve(type, request) { operation in
      let name = name(operation)
      let number = Int(name.context.rawValue) - 1
      if name.rest.isEmpty, (0...texts.count).contains(number) { return body(number, operation) }
      guard number == 0 else { return backplane.refuse(.notContext, request) }
      guard let index = texts.firstIndex(where: { $0.name == Array(name.rest) }) else {
        return backplane.refuse(.notFound, request)
      }
      body(index + 1, operation)
    }
  }

  private func descriptor(_ number: Int) -> Descriptor {
    var descriptor = Descriptor(
      kind: number == 0 ? .context : .file,
      identity: Descriptor.Identity(device: 0, inode: UInt64(number) + 1, generation: 0))
    descriptor.context = ContextID(rawValue: UInt32(number) + 1)
    descriptor.permissions = number == 0 ? 0o555 : 0o444
    descriptor.links = number == 0 ? 2 : 1
    let now = backplane.wallClock
    descriptor.modified = now
    descriptor.changed = now
    descriptor.accessed = now
    descriptor.attributes = [.readable, .randomAccess, .multiBlock]
    if number > 0 {
      descriptor.size = UInt64(texts[number - 1].make().utf8.count)
      descriptor.name = texts[number - 1].name
    }
    return descriptor
  }

  private func open(_ number: Int, _ operation: CreateInstance, _ request: Request) {
    let isDirectory = operation.mode.contains(.directory)
    guard operation.mode.isDisjoint(with: [.write, .create, .truncate]) else {
      return backplane.refuse(.noPermission, request)
    }
    guard isDirectory == (number == 0) else {
      return backplane.refuse(isDirectory ? .notContext : .isContext, request)
    }
    let text = number == 0 ? listing() : Array(texts[number - 1].make().utf8)
    let instance: InstanceID? = state.withLock { state in
      guard state.instances.count < Self.instancesMax else { return nil }
      state.lastInstance = (state.lastInstance + 1) & 0xFFFF
      let instance = InstanceID(rawValue: UInt32(number) << 16 | state.lastInstance)
      state.instances[instance] = text
      return instance
    }
    guard let instance else { return backplane.refuse(.noServerResources, request) }
    var descriptor = descriptor(number)
    if number > 0 { descriptor.size = UInt64(text.count) }
    backplane.reply(
      CreateInstance.Answer(
        instance: instance, attributes: descriptor.attributes, isNew: false,
        descriptor: descriptor), to: request)
  }

  private func read(_ operation: ReadInstance, _ request: Request) {
    guard let text = state.withLock({ $0.instances[operation.instance] }) else {
      return backplane.refuse(.invalidFileID, request)
    }
    let start = Int(clamping: min(operation.position, UInt64(text.count)))
    let end = min(start + min(max(operation.count, 0), Message.segmentBytesMax), text.count)
    // Positions in the listing are offsets of records, so both kinds are read alike.
    backplane.reply(ReadInstance.Answer(data: Array(text[start..<end])), to: request)
  }

  /// The records of the directory; each one's next position is where it ends.
  private func listing() -> [UInt8] {
    var writer = SegmentWriter()
    for number in texts.indices {
      var descriptor = descriptor(number + 1)
      descriptor.nextPosition = UInt64(writer.bytes.count + descriptor.byteCount)
      descriptor.emit(into: &writer)
    }
    return writer.bytes
  }

  /// Lets the procedure, which exists first, find its files.
  private final class Cell: Sendable {
    private struct Reference: Sendable { weak var value: OwnFiles? }
    private let reference = Mutex(Reference())
    var files: OwnFiles? { reference.withLock { $0.value } }
    func set(_ files: OwnFiles) { reference.withLock { $0.value = files } }
  }
}
