import Synchronization
import VNode
import VProtocol
import VTransport

/// A machine with fixed random numbers and a clock that a test moves; it keeps of the packets that
/// were sent only what the test needs.
final class QuietMachine: Machine {
  private struct State {
    var randoms: [UInt64]
    var now = Time(nanoseconds: 1_000_000_000)
    var sent: [[UInt8]] = []
    /// The client whose last request is kept.
    var client: UInt64?
    var request: [UInt8] = []
  }

  private let state: Mutex<State>
  private let keepsSent: Bool
  let wallClock: Int64 = 1_700_000_000_000_000_000

  /// The node draws its kernel identifier first, then the seed of its transaction numbers.
  init(kernel: KernelID, keepsSent: Bool = false) {
    state = Mutex(State(randoms: [42, UInt64(kernel.rawValue)]))
    self.keepsSent = keepsSent
  }

  var now: Time { state.withLock { $0.now } }
  func pass(_ span: TimeSpan) { state.withLock { $0.now = $0.now + span } }

  func random() -> UInt64 { state.withLock { $0.randoms.popLast() ?? 4711 } }

  /// Keeps the start of the last packet that comes from `client`.
  func note(requestsOf client: EntityID) {
    state.withLock { $0.client = client.rawValue }
  }

  /// Client and transaction of its last request; empty if there was none.
  var request: [UInt8] { state.withLock { $0.request } }

  func transmit(
    _ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination
  ) {
    state.withLock { state in
      if packets.loadUnaligned(as: UInt64.self).bigEndian == state.client {
        state.request = Array(packets[..<20])
      }
      guard keepsSent else { return }
      for start in Swift.stride(from: 0, to: packets.count, by: stride) {
        state.sent.append(Array(packets[start..<min(start + stride, packets.count)]))
      }
    }
  }

  /// The packets sent since the last call.
  func takeSent() -> [[UInt8]] {
    state.withLock { state in
      defer { state.sent = [] }
      return state.sent
    }
  }

  func listen(to group: EntityID) {}
  func wake(at time: Time) {}
  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {}
  func unwatch(_ descriptor: Int32) {}
  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {}
  func disk(_ priority: Priority, mayRunHere: Bool, _ work: @escaping @Sendable () -> Void) {
    work()
  }
}
