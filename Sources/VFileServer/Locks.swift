import Synchronization
import VProtocol
import VRuntime
import VStore

/// The locks of all objects of a server, and who waits for one.
///
/// Each owner's lock is also a lock of Linux on a descriptor of its own (an open file description
/// lock, or a flock), so programs of this host and clients of other hosts keep each other out. The
/// tables here say what Linux does not: who is in the way, and who would wait in a circle.
final class Locks: Sendable {
  /// The locks of one scope on one object.
  struct Place: Hashable {
    var object: Descriptor.Identity
    var isWhole: Bool
  }

  /// A lock's owner: a number of a process of V.
  struct Holder: Hashable {
    var process: EntityID
    var number: UInt64
  }

  struct Held {
    /// What Linux's locks are on; they go when it is closed.
    var file: HeldObject
    var spans = RangeLocks()
    /// The instance used last: its end ends the locks.
    var instance: InstanceID
    /// The Linux process on the host that the instance belongs to.
    var linux: (host: String?, process: UInt32)
  }

  struct Waiter {
    var request: Request
    var operation: LockInstance
    var instance: Instance
    var place: Place
    var holder: Holder { Holder(process: instance.owner, number: operation.lock.owner) }
  }

  struct State {
    var held: [Place: [Holder: Held]] = [:]
    /// In the order of arrival, which is the order of service.
    var waiters: [Waiter] = []
    /// Locks given so far, and the last ones of each kind on an object.
    var grants: UInt64 = 0
    var lastGrants: [Place: (shared: UInt64, exclusive: UInt64)] = [:]
    /// Of the objects that `lastGrants` had no room for.
    var lastForgotten: UInt64 = 0
    var isTickDue = false
  }

  /// What is to be said when the lock on the tables has been given back.
  typealias Replies = [(Request, Result<LockInstance.Answer, StoreFailure>)]

  let backplane: any Backplane
  let store: any FileStore
  let state = Mutex(State())

  /// Waiting requests of all clients; each holds a record of its client.
  static let waitersMax = 4096
  private static let lastGrantsMax = 8192
  /// A program of this host tells nobody that it has unlocked, so one looks.
  private static let tickInterval = TimeSpan.milliseconds(50)

  init(_ backplane: any Backplane, _ store: any FileStore) {
    self.backplane = backplane
    self.store = store
  }

  /// Takes up a request to lock or unlock, which is answered now or later.
  func lock(_ operation: LockInstance, of instance: Instance, _ request: Request) {
    let place = Place(object: instance.identity, isWhole: operation.lock.isWhole)
    let waiter = Waiter(
      request: request, operation: operation, instance: instance, place: place)
    let replies = state.withLock { state -> Replies in
      do throws(StoreFailure) {
        if operation.how == .reclaiming {
          try state.mustBeUnbroken(since: operation.grant, operation.lock.kind, place)
        }
        let answer = try set(waiter, &state)
        let isLess = operation.lock.kind != .exclusive
        return [(request, .success(answer))] + (isLess ? serveWaiters(of: place, &state) : [])
      } catch {
        // A flock that was to change its kind has been given up first, as on Linux.
        let freed = serveWaiters(of: place, &state)
        guard error == .refused(.wouldBlock), operation.how == .waiting else {
          return freed + [(request, .failure(error))]
        }
        guard state.waiters.count < Self.waitersMax else {
          return freed + [(request, .failure(.refused(.noServerResources)))]
        }
        if !place.isWhole && state.wouldWaitInCircle(waiter) {
          return freed + [(request, .failure(.refused(.deadlock)))]
        }
        state.waiters.append(waiter)
        return freed
      }
    }
    answer(replies)
    tickLater()
  }

  /// A lock in the way of one that is wanted.
  func query(_ lock: ObjectLock, of instance: Instance) throws(StoreFailure) -> ObjectLock {
    let place = Place(object: instance.identity, isWhole: lock.isWhole)
    let holder = Holder(process: instance.owner, number: lock.owner)
    return try state.withLock { state throws(StoreFailure) -> ObjectLock in
      var found = lock
      found.kind = .none
      for (other, held) in state.held[place, default: [:]] where other != holder {
        guard let span = held.spans.conflict(with: lock.kind, lock.range) else { continue }
        (found.kind, found.range) = (span.kind, span.range)
        // A number of another host's process would name a stranger.
        found.process = held.linux.host == instance.host ? held.linux.process : 0
        return found
      }
      var file = state.held[place]?[holder]?.file
      if file == nil { file = try open(instance, place) }
      if let span = try store.conflict(on: file!.handle, lock.kind, lock.range) {
        (found.kind, found.range, found.process) = (span.kind, span.range, 0)
      }
      return found
    }
  }

  /// Ends the wait of a client; false if there is none.
  func cancel(_ client: EntityID, by principal: Principal?) -> Bool {
    let waiter = state.withLock { state -> Waiter? in
      let index = state.waiters.firstIndex {
        $0.request.client == client && $0.request.principal == principal
      }
      return index.map { state.waiters.remove(at: $0) }
    }
    if let waiter { answer([(waiter.request, .failure(.refused(.interrupted)))]) }
    return waiter != nil
  }

  /// Takes away the locks and waits that `belongs` says, and gives their room to who waits.
  func release(
    where belongs: (InstanceID, EntityID) -> Bool
  ) {
    let replies = state.withLock { state -> Replies in
      var freed: [Place] = []
      for (place, holders) in state.held {
        for (holder, held) in holders where belongs(held.instance, holder.process) {
          state.held[place]?[holder] = nil
          freed.append(place)
        }
        if state.held[place]?.isEmpty == true { state.held[place] = nil }
      }
      var replies: Replies = []
      state.waiters.removeAll { waiter in
        guard belongs(waiter.operation.instance, waiter.instance.owner) else { return false }
        replies.append((waiter.request, .failure(.refused(.invalidFileID))))
        return true
      }
      return freed.reduce(into: replies) { $0 += serveWaiters(of: $1, &state) }
    }
    answer(replies)
  }

  var waiterCount: Int { state.withLock { $0.waiters.count } }
}

// MARK: Giving and taking

extension Locks {
  /// Sets or takes away a lock now; `wouldBlock` where another is in the way.
  private func set(
    _ waiter: Waiter, _ state: inout State
  ) throws(StoreFailure) -> LockInstance.Answer {
    let (place, holder, lock) = (waiter.place, waiter.holder, waiter.operation.lock)
    var held = state.held[place]?[holder]
    if held == nil && lock.kind == .none { return LockInstance.Answer(grant: state.grants) }
    if !state.blockers(of: waiter).isEmpty {
      if place.isWhole { state.held[place]?[holder] = nil }
      throw .refused(.wouldBlock)
    }
    if held == nil {
      held = Held(
        file: try open(waiter.instance, place), instance: waiter.operation.instance,
        linux: (waiter.instance.host, lock.process))
    }
    var new = held!
    new.instance = waiter.operation.instance
    new.spans.set(lock.kind, lock.range)
    guard new.spans.spans.count <= RangeLocks.spansMax else {
      throw .refused(.noServerResources)
    }
    do throws(StoreFailure) {
      try store.lock(new.file.handle, lock.kind, place.isWhole ? nil : lock.range)
    } catch {
      // Linux gives up the old kind of a flock before it takes the new one.
      if place.isWhole { state.held[place]?[holder] = nil }
      throw error
    }
    state.held[place, default: [:]][holder] = new.spans.isEmpty ? nil : new
    if state.held[place]?.isEmpty == true { state.held[place] = nil }
    if lock.kind != .none && waiter.operation.how != .reclaiming {
      state.noteGrant(lock.kind, place, roomFor: Self.lastGrantsMax)
    }
    return LockInstance.Answer(grant: state.grants)
  }

  private func open(_ instance: Instance, _ place: Place) throws(StoreFailure) -> HeldObject {
    HeldObject(
      try store.openToLock(instance.file.handle, isWhole: place.isWhole), of: store,
      export: instance.file.export)
  }

  /// Gives locks to those who waited for them, first come, first served.
  private func serveWaiters(of place: Place?, _ state: inout State) -> Replies {
    var replies: Replies = []
    var index = 0
    while index < state.waiters.count {
      let waiter = state.waiters[index]
      index += 1
      guard place == nil || waiter.place == place else { continue }
      do throws(StoreFailure) {
        replies.append((waiter.request, .success(try set(waiter, &state))))
      } catch {
        if error == .refused(.wouldBlock) { continue }
        replies.append((waiter.request, .failure(error)))
      }
      index -= 1
      state.waiters.remove(at: index)
    }
    return replies
  }

  private func answer(_ replies: Replies) {
    for (request, result) in replies {
      switch result {
      case .success(let answer): backplane.reply(answer, to: request)
      case .failure(.refused(let code)): backplane.refuse(code, request)
      case .failure(.heldUp(let code)): backplane.refuse(code, request)
      case .failure(.wouldWait): preconditionFailure("locks of Linux are not waited for")
      }
    }
  }

  private func tickLater() {
    let isFirst = state.withLock { state in
      guard !state.waiters.isEmpty, !state.isTickDue else { return false }
      state.isTickDue = true
      return true
    }
    guard isFirst else { return }
    backplane.after(Self.tickInterval) { [weak self] in
      guard let self else { return }
      answer(
        state.withLock { state in
          state.isTickDue = false
          return serveWaiters(of: nil, &state)
        })
      tickLater()
    }
  }
}

// MARK: Who is in the way

extension Locks.State {
  /// Owners that hold a lock in conflict with the one that is waited for.
  fileprivate func blockers(of waiter: Locks.Waiter) -> [Locks.Holder] {
    let lock = waiter.operation.lock
    return (held[waiter.place] ?? [:]).compactMap { holder, held in
      holder != waiter.holder && held.spans.conflict(with: lock.kind, lock.range) != nil
        ? holder : nil
    }
  }

  /// Whether somebody whom `waiter` would wait for waits, in the end, for it.
  fileprivate func wouldWaitInCircle(_ waiter: Locks.Waiter) -> Bool {
    var seen: Set<Locks.Holder> = []
    var open = blockers(of: waiter)
    while let holder = open.popLast() {
      if holder == waiter.holder { return true }
      guard seen.insert(holder).inserted else { continue }
      for other in waiters where other.holder == holder && !other.place.isWhole {
        open += blockers(of: other)
      }
    }
    return false
  }

  fileprivate mutating func noteGrant(
    _ kind: LockKind, _ place: Locks.Place, roomFor placesMax: Int
  ) {
    grants += 1
    if lastGrants.count >= placesMax && lastGrants[place] == nil {
      lastGrants = [:]
      lastForgotten = grants - 1
    }
    var last = lastGrants[place] ?? (lastForgotten, lastForgotten)
    if kind == .exclusive { last.exclusive = grants } else { last.shared = grants }
    lastGrants[place] = last
  }

  /// A lock that was lost may go on only if nobody had one against it meanwhile.
  fileprivate func mustBeUnbroken(
    since grant: UInt64, _ kind: LockKind, _ place: Locks.Place
  ) throws(StoreFailure) {
    let last = lastGrants[place] ?? (lastForgotten, lastForgotten)
    let other = kind == .exclusive ? max(last.shared, last.exclusive) : last.exclusive
    guard other <= grant else { throw .refused(.wouldBlock) }
  }
}
