import Synchronization
import VNode
import VProtocol
import VTransport

/// A machine with fixed random numbers, a clock that a test moves, and a list of the packets that
/// were sent.
final class FakeMachine: Machine {
  struct Sent: Sendable {
    var packets: [[UInt8]]
    var destination: Destination
  }

  private let randoms: Mutex<[UInt64]>
  private let sent = Mutex<[Sent]>([])
  private let groups = Mutex<[EntityID]>([])

  /// The node draws its kernel identifier first, then the seed of its transaction numbers.
  init(kernel: KernelID, wallClock: Int64 = 1_700_000_000_000_000_000) {
    randoms = Mutex([UInt64(kernel.rawValue), 42])
    self.wallClock = wallClock
  }

  private let clock = Mutex(Time(nanoseconds: 1_000_000_000))
  var now: Time { clock.withLock { $0 } }
  func pass(_ span: TimeSpan) { clock.withLock { $0 = $0 + span } }
  let wallClock: Int64

  func random() -> UInt64 { randoms.withLock { $0.isEmpty ? 4711 : $0.removeFirst() } }

  func transmit(
    _ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination
  ) {
    let list = Swift.stride(from: 0, to: packets.count, by: stride).map { start in
      Array(packets[start..<min(start + stride, packets.count)])
    }
    sent.withLock { $0.append(Sent(packets: list, destination: destination)) }
  }

  /// The packets sent since the last call.
  func takeSent() -> [Sent] {
    sent.withLock { sent in
      defer { sent = [] }
      return sent
    }
  }

  var listened: [EntityID] { groups.withLock { $0 } }

  func listen(to group: EntityID) { groups.withLock { $0.append(group) } }
  func wake(at time: Time) {}
  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {}
  func unwatch(_ descriptor: Int32) {}
  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {}
  func disk(_ priority: Priority, mayRunHere: Bool, _ work: @escaping @Sendable () -> Void) {
    work()
  }
}
