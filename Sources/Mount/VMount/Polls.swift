internal import Synchronization
internal import VClient
public import VFuse
internal import VProtocol
internal import VRuntime

/// The files that a program waits for by poll(2), select(2) or epoll(7), and how the kernel is told
/// that one of them may be ready.
///
/// Linux asks once more for each program that it wakes, and so is told only to ask. A handle has at
/// most one request that waits at its manager; it ends with the handle.
final class Polls: Sendable {
  private let notified = Mutex<[HandleNumber: PollHandle]>([:])

  func note(_ handle: HandleNumber, _ notified: PollHandle) {
    self.notified.withLock { $0[handle] = notified }
  }

  subscript(handle: HandleNumber) -> PollHandle? { notified.withLock { $0[handle] } }

  func remove(_ handle: HandleNumber) { notified.withLock { $0[handle] = nil } }
}

/// POLL.
extension Mount {
  public func poll(
    _ request: FuseRequest, _ handle: HandleNumber, for wanted: PollEvents,
    notifying notified: PollHandle?
  ) {
    call(request).look(handle) { [self] answer in
      guard case .done(let ready, _) = answer else {
        // The next read or write tells why.
        return request.reply(wanted.union(.error))
      }
      if let notified {
        polls.note(handle, notified)
        if !ready.meets(Self.readiness(wanted)) { watch(handle, for: Self.readiness(wanted)) }
      }
      request.reply(Self.events(ready))
    }
  }

  /// What an edge of epoll(7) needs: where a read or write has found no more, whoever was notified
  /// once is so again without having asked.
  func watchAgain(_ handle: HandleNumber, for wanted: Readiness) {
    if polls[handle] != nil { watch(handle, for: wanted) }
  }

  private func watch(_ handle: HandleNumber, for wanted: Readiness) {
    client.watch(handle, for: wanted) { [self] in
      if let notified = polls[handle] { session.notify(notified) }
    }
  }

  private static func readiness(_ events: PollEvents) -> Readiness {
    var readiness: Readiness = []
    if events.contains(.readable) { readiness.insert(.readable) }
    if events.contains(.writeable) { readiness.insert(.writeable) }
    return readiness
  }

  private static func events(_ readiness: Readiness) -> PollEvents {
    var events: PollEvents = []
    if readiness.contains(.readable) { events.insert(.readable) }
    if readiness.contains(.writeable) { events.insert(.writeable) }
    if readiness.contains(.ended) { events.insert(.hangUp) }
    if readiness.contains(.broken) { events.insert(.error) }
    return events
  }
}
