import VKernel
import VNode
import VProtocol
import VRuntime

/// Entities that go from one host to another in the middle of what they do.
extension Day {
  /// Stops an entity and takes it to another host, which refuses it now and then.
  ///
  /// `place` is told the host that is to have it next, before that host takes it in; nil, if both
  /// have ended meanwhile. False if it cannot leave now.
  func move(
    _ entity: EntityID, from old: StormHost, to name: String,
    _ place: @escaping (StormHost?) -> Void
  ) -> Bool {
    guard let new = running[name], new !== old, isAwake(old),
      let moving = old.node.freeze(entity, for: new.node.id)
    else { return false }
    let milliseconds = below(10) == 0 ? below(2000) : below(60)
    let isRefused = below(8) == 0
    simulator.schedule(after: .milliseconds(Int64(milliseconds))) { [self] in
      arrive(moving, from: old, at: new, isRefused: isRefused, place)
    }
    return true
  }

  private func arrive(
    _ moving: Node.MovingEntity, from old: StormHost, at new: StormHost, isRefused: Bool,
    _ place: @escaping (StormHost?) -> Void
  ) {
    if isAwake(new), !(isRefused && isRunning(old)) {
      place(new)
      if new.node.adopt(moving) { return release(moving.image.entity, by: old) }
    }
    if isAwake(old) {
      place(old)
      if old.node.adopt(moving) { return }
    }
    guard isRunning(old) || isRunning(new) else { return place(nil) }
    // Those that run sleep, or have no room.
    simulator.schedule(after: .milliseconds(10)) { [self] in
      arrive(moving, from: old, at: new, isRefused: false, place)
    }
  }

  /// The host that it has left hears that another one has it, once it is awake.
  private func release(_ entity: EntityID, by old: StormHost) {
    if isAwake(old) { return old.node.release(entity) }
    guard isRunning(old) else { return }
    simulator.schedule(after: .milliseconds(10)) { [self] in release(entity, by: old) }
  }

  func isRunning(_ host: StormHost) -> Bool { running[host.node.host] === host }

  func isAwake(_ host: StormHost) -> Bool {
    isRunning(host) && !simulator.machine(host.node.host).isAsleep
  }
}

/// A server that moves. While it is on its way it does nothing.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class Mover: @unchecked Sendable {
  private unowned let day: Day
  private(set) var entity = EntityID.none
  private(set) var host: StormHost
  private(set) var isMoving = false
  private(set) var hasEnded = false
  /// What it is about to do when it has arrived.
  private var later: [() -> Void] = []

  init(_ host: StormHost, _ day: Day) {
    (self.host, self.day) = (host, day)
    entity = host.node.makeServer(knowsPrincipals: true) { [unowned self] request in
      let answer = self.day.ledger.execute(request)
      let span = self.day.below(4) == 0 ? self.day.below(200_000) : self.day.below(5000)
      self.day.simulator.schedule(after: .microseconds(Int64(span))) { [weak self] in
        self?.reply(answer, to: request)
      }
    }
  }

  func move(to name: String) -> Bool {
    guard !isMoving, !hasEnded else { return false }
    isMoving = day.move(entity, from: host, to: name) { [weak self] in self?.settle($0) }
    return isMoving
  }

  /// Its host crashes.
  func end() { hasEnded = true }

  private func settle(_ place: StormHost?) {
    guard let place else { return end() }
    (host, isMoving) = (place, false)
    let bodies = later
    later = []
    // It goes on once it has been taken in.
    day.simulator.schedule(after: .microseconds(1)) { for body in bodies { body() } }
  }

  private func reply(_ answer: Message, to request: Request) {
    if hasEnded { return }
    if isMoving { return later.append { [weak self] in self?.reply(answer, to: request) } }
    if day.isAwake(host) { return host.node.reply(answer, to: request) }
    day.simulator.schedule(after: .milliseconds(10)) { [weak self] in
      self?.reply(answer, to: request)
    }
  }
}
