import Synchronization
import VObjects
import VProtocol
import VRuntime

/// The content of an instance: an end of a pipe, or the context of all pipes.
///
/// A read of the context gets its pipes at that moment: a pipe's number is its position, so an
/// instance needs no list of its own.
enum PipeContent: Sendable {
  case end(Pipe.End, of: PipeTable.PipeID)
  case context
}

/// The pipes of a host in their lock, and the requests that they have not answered.
///
/// All changes go through `update`, which answers after releasing the lock.
final class Pipes: Sendable {
  /// A request that has not been answered.
  struct Pending: Sendable {
    var request: Request
    var caller: Caller
    /// The opening that it is; a place for the instance is reserved.
    var opening: CreateInstance?
  }

  struct State: Sendable {
    var table: PipeTable
    var pending: [Pipe.Wait: Pending] = [:]
    var lastWait: Pipe.Wait = 0
  }

  /// The answer to a request, to be sent outside the lock.
  private struct Answer: Sendable {
    var pending: Pending
    var action: Pipe.Action
    /// The pipe that it opened.
    var pipe: (PipeTable.PipeID, PipeTable.Entry)?
  }

  /// The context of all pipes.
  static let root = ContextID(rawValue: 1)

  let objects: ObjectServer<PipeContent>
  let startedAt: Int64
  /// The contexts of pipes; each ends with its pipe.
  private let contexts: ContextTable<PipeTable.PipeID, PipeTable.PipeID>
  /// Tells the pipes of this run of the server from those of another one.
  private let generation: UInt64
  private let state: Mutex<State>
  private var backplane: any Backplane { objects.backplane }

  init(_ objects: ObjectServer<PipeContent>) {
    self.objects = objects
    let backplane = objects.backplane
    startedAt = backplane.wallClock
    generation = backplane.random()
    contexts = ContextTable(backplane)
    state = Mutex(State(table: PipeTable(ownHost: backplane.host)))
  }

  func look<Value>(_ body: (borrowing State) -> Value) -> Value { state.withLock { body($0) } }

  /// Changes the pipes, and answers requests that need not wait any more.
  @discardableResult
  func update<Value: Sendable>(
    _ change: (inout State) -> (Value, [Pipe.Action])
  ) -> Value {
    let (value, answers, gone) = state.withLock { state in
      let (value, actions) = change(&state)
      return (value, actions.compactMap { Self.answer($0, &state) }, state.table.takeGone())
    }
    for pipe in gone { contexts.drop(pipe) }
    for answer in answers { give(answer) }
    return value
  }

  /// The pipe of a context; it may be gone.
  func pipe(of context: ContextID) -> PipeTable.PipeID? { contexts[context] }
}

// MARK: - Requests that wait

extension Pipes {
  /// Begins a request that a change of the pipes answers, now or later.
  ///
  /// From here on its wait can be cancelled, whether the change has been made or not.
  func begin(
    _ pending: Pending, in instance: Instance<PipeContent>,
    _ change: (inout State, Pipe.Wait) -> [Pipe.Action]
  ) {
    begin(pending, change) { cancel throws(Refusal) in
      try objects.wait(pending.request, in: instance, cancel: cancel)
    }
  }

  func begin(
    _ pending: Pending, opening operation: CreateInstance,
    _ change: (inout State, Pipe.Wait) throws(Refusal) -> [Pipe.Action]
  ) {
    begin(pending, change) { cancel throws(Refusal) in
      try objects.wait(pending.request, for: operation, pending.caller, cancel: cancel)
    }
  }

  private func begin(
    _ pending: Pending, _ change: (inout State, Pipe.Wait) throws(Refusal) -> [Pipe.Action],
    keep: (_ cancel: @escaping @Sendable (ReplyCode) -> Void) throws(Refusal) -> Void
  ) {
    let wait = state.withLock { state in
      state.lastWait += 1
      state.pending[state.lastWait] = pending
      return state.lastWait
    }
    do throws(Refusal) {
      try keep { [weak self] code in self?.cancel(wait, code) }
    } catch {
      state.withLock { $0.pending[wait] = nil }
      return fail(pending, error)
    }
    let refusal: Refusal? = update { state in
      guard state.pending[wait] != nil else { return (nil, []) }
      do throws(Refusal) {
        return (nil, try change(&state, wait))
      } catch {
        state.pending[wait] = nil
        return (error, [])
      }
    }
    guard let refusal else { return }
    objects.waits.end(pending.request)
    fail(pending, refusal)
  }

  /// Ends a wait without any effect.
  private func cancel(_ wait: Pipe.Wait, _ code: ReplyCode) {
    update { state in
      let actions = state.table.cancel(wait, code)
      // It may not have reached its pipe yet.
      return ((), actions.isEmpty ? [Pipe.Action(wait: wait, outcome: .refused(code))] : actions)
    }
  }

  private static func answer(_ action: Pipe.Action, _ state: inout State) -> Answer? {
    guard let pending = state.pending.removeValue(forKey: action.wait) else { return nil }
    var answer = Answer(pending: pending, action: action)
    if action.outcome == .opened, let pipe = state.table.pipe(of: action.wait),
      let entry = state.table[pipe]
    {
      answer.pipe = (pipe, entry)
    }
    return answer
  }

  private func give(_ answer: Answer) {
    let (request, caller) = (answer.pending.request, answer.pending.caller)
    objects.waits.end(request)
    switch answer.action.outcome {
    case .refused(let code): fail(answer.pending, Refusal(code))
    case .read(let data): backplane.reply(ReadInstance.Answer(data: data), to: request)
    case .written(let count):
      backplane.reply(WriteInstance.Answer(count: count, size: 0), to: request)
    case .ready(let ready): backplane.reply(AwaitInstance.Answer(ready: ready), to: request)
    case .opened:
      guard let operation = answer.pending.opening, let (pipe, entry) = answer.pipe else {
        preconditionFailure("only an opening opens an end, of a pipe that is there")
      }
      let instance = objects.enter(
        .end(answer.action.wait, of: pipe), for: operation, caller)
      let descriptor = descriptor(pipe, entry)
      backplane.reply(
        CreateInstance.Answer(
          instance: instance.id, attributes: descriptor.attributes,
          isNew: operation.mode.contains(.create), descriptor: descriptor), to: request)
    }
  }

  /// Refuses a request, and frees the place that was reserved for its instance.
  func fail(_ pending: Pending, _ refusal: Refusal) {
    if pending.opening != nil { objects.instances.cancel(for: pending.caller) }
    objects.refuse(refusal, pending.request)
  }
}

// MARK: - What objects look like

extension Pipes {
  /// The context of all pipes, which everybody may add to.
  func rootDescriptor() -> Descriptor {
    var root = Descriptor(
      kind: .context, identity: Descriptor.Identity(device: 0, inode: 1, generation: generation))
    root.attributes = [.readable, .variableBlock, .multiBlock]
    root.permissions = 0o1777
    root.links = 2
    root.context = Self.root
    (root.born, root.modified, root.changed, root.accessed) = (
      startedAt, startedAt, startedAt, startedAt
    )
    return root
  }

  /// As many records behind `position` as fit into `count` octets; a listing grants no contexts.
  func records(from position: UInt64, _ count: Int) throws(Refusal) -> [UInt8] {
    let named = state.withLock { state in
      state.table.named(after: position).prefix(PipeLimits.recordsMax + 1)
        .compactMap { number in state.table[number].map { (number, record(number, $0)) } }
    }
    var filling = Listing.Filling(count)
    for (number, record) in named {
      guard try filling.add(record, nextPosition: number) else { break }
    }
    return filling.octets
  }

  /// The descriptor of a pipe, for a caller who asks for it.
  func descriptor(
    _ identifier: PipeTable.PipeID, _ entry: PipeTable.Entry
  ) -> Descriptor {
    var descriptor = record(identifier, entry)
    descriptor.context = contexts.grant(identifier, identifier)
    return descriptor
  }

  /// A pipe has no size.
  func record(_ identifier: PipeTable.PipeID, _ entry: PipeTable.Entry) -> Descriptor {
    var descriptor = Descriptor(
      kind: .file,
      identity: Descriptor.Identity(
        device: 0, inode: UInt64(identifier), generation: generation))
    descriptor.attributes = [.readable, .writeable, .stream, .variableBlock]
    descriptor.permissions = entry.permissions
    descriptor.links = entry.name == nil ? 0 : 1
    descriptor.blockSize = UInt32(Message.segmentBytesMax)
    descriptor.owner = entry.owner
    descriptor.group = entry.owner
    descriptor.name = entry.name ?? []
    descriptor.born = entry.born
    descriptor.modified = entry.born
    descriptor.accessed = entry.born
    descriptor.changed = entry.changed
    return descriptor
  }
}

extension PipeTable.Entry {
  /// The rights of a caller: 4 read, 2 write.
  ///
  /// A pipe contains nothing of its host, so root may do all. Only the owner has the group's
  /// rights, because groups of users are not known here.
  func rights(of caller: Caller) -> UInt32 {
    if caller.isRoot { return 6 }
    return (caller.user == owner ? permissions >> 6 : permissions) & 6
  }

  func isOwned(by caller: Caller) -> Bool { caller.isRoot || caller.user == owner }
}
