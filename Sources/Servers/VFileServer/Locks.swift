import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// The locks of all objects of a server, and the requests that wait for one.
///
/// Each object has one descriptor for its ranges, and one for the whole (an open file description
/// lock, and a flock), on which Linux holds the locks of all owners together: so programs of this
/// host and clients of other hosts exclude each other. The tables here tell the owners apart.
final class Locks: Sendable {
  /// The locks of one scope on one object.
  struct Place: Hashable, Sendable {
    var object: Descriptor.Identity
    var isWhole: Bool
  }

  /// The owner of a lock: a number that a process gives, which only the principal of that process
  /// can use.
  struct Owner: Hashable, Sendable {
    var principal: Principal
    var process: EntityID
    var number: UInt64
  }

  /// An owner's locks on one object.
  struct Key: Hashable, Sendable {
    var place: Place
    var owner: Owner
  }

  /// The locks on one object.
  struct Table: Sendable {
    /// The file that Linux's locks are on; closing it removes them.
    var file: HeldObject
    /// Whether the file was opened to write, which exclusive locks on ranges need.
    var isWriting: Bool
    var union = LockUnion<Owner>()
    /// The instance that each owner used last, whose end removes the locks, and its Linux process.
    var uses: [Owner: (instance: InstanceID, process: UInt32)] = [:]
    /// How many owners each principal has here.
    var payers: [Principal: Int] = [:]
  }

  struct State: Sendable {
    var tables: [Place: Table] = [:]
    var keys: [InstanceID: Set<Key>] = [:]
    var waiters = LockWaiters()
    var grants: LockGrants
    /// The shares of principals in ranges, and in objects.
    var ranges: Shares
    var objects: Shares
    var isTickDue = false
  }

  typealias Result = Swift.Result<LockInstance.Answer, StoreFailure>
  /// Answers to be sent when the lock on the tables has been released.
  typealias Replies = [(LockWaiter, Result)]

  let objects: ObjectServer<FileContent>
  let store: any FileStore
  private let state: Mutex<State>

  /// A program of this host does not report that it has unlocked, so waiting requests are tried
  /// again.
  private static let tickInterval = TimeSpan.milliseconds(50)

  init(_ objects: ObjectServer<FileContent>, _ store: any FileStore, _ limits: FileLimits) {
    self.objects = objects
    self.store = store
    let host = objects.backplane.host
    state = Mutex(
      State(
        grants: LockGrants(capacity: limits.lockedObjects, ownHost: host),
        ranges: Shares(capacity: limits.lockedRanges, ownHost: host),
        objects: Shares(capacity: limits.lockedObjects, ownHost: host)))
  }

  /// Handles a request to lock or unlock, which is answered now or later.
  func lock(_ operation: LockInstance, of instance: FileInstance, _ request: Request) {
    let waiter: LockWaiter
    do throws(StoreFailure) {
      waiter = try LockWaiter(operation, instance, request)
    } catch {
      return answer(request, .failure(error))
    }
    let (result, freed) = state.withLock { attempt(waiter, &$0) }
    finish(freed)
    guard operation.how == .waiting, result == .failure(.refused(.wouldBlock)) else {
      return answer(request, result)
    }
    wait(waiter)
  }

  private func wait(_ waiter: LockWaiter) {
    do throws(Refusal) {
      try objects.wait(waiter.request, in: waiter.instance) { [self] in cancel(waiter, $0) }
    } catch {
      return objects.refuse(error, waiter.request)
    }
    let replies = state.withLock { state -> Replies in
      // The wait was ended meanwhile, and is answered.
      guard !waiter.isDecided else { return [] }
      let (result, freed) = attempt(waiter, &state)
      guard result == .failure(.refused(.wouldBlock)) else {
        return freed + [waiter.decide(result)]
      }
      if !waiter.place.isWhole && state.wouldWaitInCircle(waiter) {
        return freed + [waiter.decide(.failure(.refused(.deadlock)))]
      }
      state.waiters.add(waiter)
      return freed
    }
    finish(replies)
    tickLater()
  }

  /// Answers a wait that was ended from outside, or with the lock if it was given just before.
  private func cancel(_ waiter: LockWaiter, _ code: ReplyCode) {
    let result = state.withLock { state in
      state.waiters.remove(waiter)
      return waiter.decide(.failure(.refused(code))).1
    }
    answer(waiter.request, result)
  }

  /// Finds a lock that conflicts with a wanted one.
  func query(
    _ wanted: ObjectLock, of instance: FileInstance, _ request: Request
  ) throws(StoreFailure) -> ObjectLock {
    let waiter = try LockWaiter(
      LockInstance(instance.id, wanted, .atOnce), instance, request)
    let lock = waiter.lock
    return try state.withLock { state throws(StoreFailure) -> ObjectLock in
      var found = lock
      found.kind = .none
      let table = state.tables[waiter.place]
      if let table, table.union.isHeld(against: lock.kind, lock.range, of: waiter.owner) {
        for (owner, ranges) in table.union.owners where owner != waiter.owner {
          guard let span = ranges.conflict(with: lock.kind, lock.range) else { continue }
          (found.kind, found.range) = (span.kind, span.range)
          // A process number is meaningless on another host.
          let isNear = owner.principal.host == waiter.owner.principal.host
          found.process = isNear ? table.uses[owner]?.process ?? 0 : 0
          return found
        }
      }
      let file: HeldObject
      if let table { file = table.file } else { file = try open(waiter, toWrite: false) }
      if let span = try store.conflict(on: file.handle, lock.kind, lock.range) {
        (found.kind, found.range, found.process) = (span.kind, span.range, 0)
      }
      return found
    }
  }

  /// Removes the locks of an instance that has ended, and serves waiting requests; its own waits
  /// have ended.
  func release(_ instance: FileInstance) {
    let replies = state.withLock { state -> Replies in
      let keys = state.keys.removeValue(forKey: instance.id) ?? []
      // Removing everything of an owner always succeeds.
      for key in keys { try? giveUp(key, LockWaiter.all, &state) }
      return Set(keys.map(\.place)).reduce(into: []) { $0 += serveWaiters(of: $1, &state) }
    }
    finish(replies)
  }
}

// MARK: - Serving

extension Locks {
  /// Sets or removes a lock now, if possible; also returns the answers to others that this allows.
  private func attempt(_ waiter: LockWaiter, _ state: inout State) -> (Result, Replies) {
    do throws(StoreFailure) {
      if waiter.how == .reclaiming {
        try state.grants.mustBeUnbroken(since: waiter.grant, waiter.lock.kind, waiter.place)
      }
      let answer = try set(waiter, &state)
      let isLess = waiter.lock.kind != .exclusive
      return (.success(answer), isLess ? serveWaiters(of: waiter.place, &state) : [])
    } catch {
      // A flock that was to change its kind has been given up first, as on Linux.
      return (.failure(error), waiter.place.isWhole ? serveWaiters(of: waiter.place, &state) : [])
    }
  }

  /// Serves waiting requests in the order of arrival.
  private func serveWaiters(of place: Place, _ state: inout State) -> Replies {
    var replies: Replies = []
    for waiter in state.waiters.all(at: place) {
      do throws(StoreFailure) {
        replies.append(waiter.decide(.success(try set(waiter, &state))))
      } catch {
        if error == .refused(.wouldBlock) { continue }
        replies.append(waiter.decide(.failure(error)))
      }
      state.waiters.remove(waiter)
    }
    return replies
  }

  /// Answers requests whose wait has not been ended from outside.
  private func finish(_ replies: Replies) {
    for (waiter, result) in replies where objects.waits.end(waiter.request) {
      answer(waiter.request, result)
    }
  }

  private func answer(_ request: Request, _ result: Result) {
    switch result {
    case .success(let answer): objects.backplane.reply(answer, to: request)
    case .failure(.refused(let code)): objects.backplane.refuse(code, request)
    case .failure(.heldUp(let code)): objects.backplane.refuse(code, request)
    case .failure(.wouldWait): preconditionFailure("locks of Linux are not waited for")
    }
  }

  private func tickLater() {
    let isFirst = state.withLock { state in
      guard !state.waiters.isEmpty, !state.isTickDue else { return false }
      state.isTickDue = true
      return true
    }
    guard isFirst else { return }
    objects.backplane.after(Self.tickInterval) { [weak self] in
      guard let self else { return }
      finish(
        state.withLock { state in
          state.isTickDue = false
          return state.waiters.places.reduce(into: []) { $0 += serveWaiters(of: $1, &state) }
        })
      tickLater()
    }
  }
}
