import Synchronization
import VProtocol
import VRuntime

/// The state of the server: the pipes, what each request waits for, and what is open.
///
/// Everything that changes goes through `update`, which answers when the lock has been given back.
final class PipeBoard: Sendable {
  /// A request that has not been answered.
  struct Pending: Sendable {
    var request: Request
    /// What it wants to open.
    var opening: CreateInstance?
    var isMaking = false

    /// The process whose death ends the instance.
    var owner: EntityID {
      guard let opening, opening.owner.isValid else { return request.client }
      return opening.owner
    }
  }

  struct Opened: Sendable {
    enum Object: Sendable {
      case pipe(PipeTable.PipeID)
      /// The context, as it was when it was opened.
      case listing([Descriptor])
    }

    var object: Object
    var mode: OpenMode
    var owner: EntityID
    /// Who opened it: no other host may use it.
    var principal: Principal?
  }

  struct State: Sendable {
    var table = PipeTable()
    var pending: [Pipe.Wait: Pending] = [:]
    var lastWait: Pipe.Wait = 0
    var opened: [InstanceID: Opened] = [:]
  }

  let backplane: any Backplane
  let startedAt: Int64
  /// Tells the pipes of this run of the server from those of another one.
  private let generation: UInt64
  private let state = Mutex(State())

  /// Half of them are for one host, so that the others go on.
  private static let instancesMax = 4096

  init(_ backplane: any Backplane) {
    self.backplane = backplane
    startedAt = backplane.wallClock
    generation = backplane.random()
  }

  func look<Value>(_ body: (borrowing State) -> Value) -> Value { state.withLock { body($0) } }

  /// Takes up a request that a change of the pipes answers, now or later.
  func update(
    _ pending: Pending, _ change: (inout State, Pipe.Wait) -> [Pipe.Action]
  ) {
    update { state in
      state.lastWait += 1
      state.pending[state.lastWait] = pending
      return change(&state, state.lastWait)
    }
  }

  /// Opens what is no pipe.
  func add(_ opened: Opened) -> InstanceID {
    state.withLock { state in
      let identifier = state.table.nextInstance()
      state.opened[identifier] = opened
      return identifier
    }
  }

  func update(_ change: (inout State) -> [Pipe.Action]) {
    let replies = state.withLock { state in
      change(&state).compactMap { action in reply(action, &state) }
    }
    for (request, message) in replies { backplane.reply(message, to: request) }
  }

  private func reply(_ action: Pipe.Action, _ state: inout State) -> (Request, Message)? {
    guard let pending = state.pending.removeValue(forKey: action.wait) else { return nil }
    switch action.outcome {
    case .refused(let code): return (pending.request, Message(reply: code))
    case .read(let data): return (pending.request, ReadInstance.Answer(data: data).message)
    case .written(let count):
      return (pending.request, WriteInstance.Answer(count: count, size: 0).message)
    case .opened(let identifier):
      let pipe = state.table.pipe(of: identifier)!
      state.opened[identifier] = Opened(
        object: .pipe(pipe), mode: pending.opening!.mode, owner: pending.owner,
        principal: pending.request.principal)
      let descriptor = descriptor(pipe, state.table[pipe]!)
      let answer = CreateInstance.Answer(
        instance: identifier, attributes: descriptor.attributes, isNew: pending.isMaking,
        descriptor: descriptor)
      return (pending.request, answer.message)
    }
  }
}

// MARK: - Who has what

extension PipeBoard {
  /// The processes that instances belong to, or will.
  var owners: Set<EntityID> {
    look { state in
      Set(state.opened.values.map(\.owner))
        .union(state.pending.values.filter { $0.opening != nil }.map(\.owner))
    }
  }

  /// A process is dead: it has nothing open and waits for nothing.
  func release(of owner: EntityID) {
    update { state in
      let waits = state.pending.filter { $0.value.opening != nil && $0.value.owner == owner }
      var actions = waits.keys.flatMap { state.table.cancel($0, .interrupted) }
      for (identifier, instance) in state.opened where instance.owner == owner {
        state.opened[identifier] = nil
        actions += state.table.release(identifier)
      }
      return actions
    }
  }

  /// Every open instance as a line.
  func lines(of server: EntityID) -> String {
    look { state in
      state.opened.sorted { $0.key.rawValue < $1.key.rawValue }.map { identifier, opened in
        var object = "pipe/\(backplane.host)"
        if case .pipe(let pipe) = opened.object {
          object += "/" + String(decoding: state.table[pipe]?.name ?? [], as: UTF8.self)
        }
        return "\(identifier.rawValue) \(server) \(opened.owner) "
          + "\(opened.principal?.host ?? "-") \(opened.mode.words) \(object)\n"
      }.joined()
    }
  }

  /// Whether one more instance may be opened from a host.
  func hasRoom(for principal: Principal?) -> Bool {
    look { state in
      let count = state.opened.count + state.pending.count
      guard count >= Self.instancesMax / 2 else { return true }
      let host = principal?.host
      return count < Self.instancesMax
        && state.opened.values.count { $0.principal?.host == host } < Self.instancesMax / 2
    }
  }
}

// MARK: - What objects look like

extension PipeBoard {
  /// The context of all pipes, which everybody may add to.
  func root() -> Descriptor {
    var root = Descriptor(
      kind: .context, identity: Descriptor.Identity(device: 0, inode: 1, generation: generation))
    root.attributes = [.readable, .variableBlock, .multiBlock]
    root.permissions = 0o1777
    root.links = 2
    root.context = PipeOperations.root
    (root.born, root.modified, root.changed, root.accessed) = (
      startedAt, startedAt, startedAt, startedAt
    )
    return root
  }

  /// A pipe has no size, and its context is its number.
  func descriptor(_ identifier: PipeTable.PipeID, _ entry: PipeTable.Entry) -> Descriptor {
    var descriptor = Descriptor(
      kind: .file,
      identity: Descriptor.Identity(
        device: 0, inode: UInt64(identifier), generation: generation))
    descriptor.attributes = [.readable, .writeable, .stream, .variableBlock]
    descriptor.permissions = entry.permissions
    descriptor.links = entry.name == nil ? 0 : 1
    descriptor.blockSize = UInt32(Message.segmentBytesMax)
    descriptor.context = ContextID(rawValue: identifier)
    descriptor.owner = entry.owner.user
    descriptor.group = entry.owner.user
    descriptor.name = entry.name ?? []
    descriptor.born = entry.born
    descriptor.modified = entry.born
    descriptor.accessed = entry.born
    descriptor.changed = entry.changed
    return descriptor
  }

  /// What somebody may do with a pipe: 4 read, 2 write.
  ///
  /// Users are the same if their names are, root too: a pipe has nothing of its host's. Nobody but
  /// the owner has the group's rights, since groups of users are not known here.
  static func rights(_ entry: PipeTable.Entry, _ principal: Principal?) -> UInt32 {
    guard let principal else { return entry.permissions & 6 }
    if principal.user == "root" { return 6 }
    return (isOwner(entry, principal) ? entry.permissions >> 6 : entry.permissions) & 6
  }

  /// A user without a name is known on his own host only.
  static func isOwner(_ entry: PipeTable.Entry, _ principal: Principal?) -> Bool {
    guard let principal else { return false }
    return principal.user == "root"
      || (principal.user == entry.owner.user
        && (!principal.user.hasPrefix("#") || principal.host == entry.owner.host))
  }
}
