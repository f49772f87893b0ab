import Synchronization
public import VProtocol

/// The last message transactions of a node, of its own clients and of those it serves; kept only
/// while the trace is on, outside the kernel's lock.
public final class TransactionTrace: Sendable {
  public struct Entry: Sendable {
    public var client: EntityID
    public var server: EntityID
    /// Of the request.
    public var code: UInt32
    public var startedAt: Time
    /// The reply and the time that it took; nil while there is none.
    public var end: (reply: ReplyCode, span: TimeSpan)?

    package init(_ client: EntityID, _ server: EntityID, _ code: UInt32, at now: Time) {
      self.client = client
      self.server = server
      self.code = code
      startedAt = now
    }
  }

  /// The next entry replaces the oldest, which is at `next`.
  private struct Ring {
    var entries: [Entry] = []
    var next = 0
  }

  private let isKeeping = Atomic(false)
  private let ring = Mutex(Ring())

  /// Some seconds of a busy node.
  public static let entriesMax = 4096

  /// Starts anew, or stops; the entries stay until the next start.
  public func keep(_ isKept: Bool) {
    if isKept { ring.withLock { $0 = Ring() } }
    isKeeping.store(isKept, ordering: .relaxed)
  }

  public var isOn: Bool { isKeeping.load(ordering: .relaxed) }

  package init() {}

  /// The oldest first.
  public var entries: [Entry] {
    ring.withLock { Array($0.entries[$0.next...] + $0.entries[..<$0.next]) }
  }

  /// Records the start of a transaction; when the trace is off, this is one load.
  package func note(_ now: @autoclosure () -> Time, _ entry: (Time) -> Entry) {
    if isOn { add(entry(now())) }
  }

  private func add(_ entry: Entry) {
    ring.withLock { ring in
      guard ring.entries.count == Self.entriesMax else { return ring.entries.append(entry) }
      ring.entries[ring.next] = entry
      ring.next = (ring.next + 1) % Self.entriesMax
    }
  }

  /// The newest transaction of a client has ended: it has one at a time.
  package func end(_ client: EntityID, _ reply: ReplyCode, at now: @autoclosure () -> Time) {
    if isOn { close(client, reply, now()) }
  }

  private func close(_ client: EntityID, _ reply: ReplyCode, _ now: Time) {
    ring.withLock { ring in
      let indices = ring.entries.indices
      guard
        let index = indices[..<ring.next].last(where: { ring.entries[$0].client == client })
          ?? indices[ring.next...].last(where: { ring.entries[$0].client == client }),
        ring.entries[index].end == nil
      else { return }
      ring.entries[index].end = (reply, now - ring.entries[index].startedAt)
    }
  }
}
