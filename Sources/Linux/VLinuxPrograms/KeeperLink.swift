import CVLinux
import Glibc
import Synchronization
import VKeeping
import VProtocol
import VRuntime

/// The server's end of the socket to one keeper.
///
/// Frames are sent in order, and received in order by one thread at a time.
final class KeeperLink: Sendable {
  private struct Output: ~Copyable {
    /// Frames for which the socket had no room; bounded by the number of unanswered questions.
    var waiting: [[UInt8]] = []
    var isEnded = false
  }

  private let descriptor: Int32
  private let backplane: any Backplane
  private let output = Mutex(Output())
  /// One thread at a time reads.
  private let assembly = Mutex(FrameAssembly())
  /// How often the socket became readable; 0 when it is empty and no thread reads.
  private let arrivals = Atomic(0)

  /// Takes over a non-blocking socket.
  init(_ descriptor: Int32, _ backplane: any Backplane) {
    self.descriptor = descriptor
    self.backplane = backplane
    v_attach_room(descriptor)
  }

  deinit { close(descriptor) }

  /// Delivers every frame, and nil at the end.
  func start(_ handler: @escaping @Sendable (KeeperFrame?) -> Void) {
    backplane.watch(descriptor) { [self] in
      // The thread that reads sees that there is more.
      if arrivals.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue == 0 { read(handler) }
    }
  }

  /// Sends a frame as soon as there is room; it is lost if the keeper has ended.
  func send(_ frame: KeeperFrame) {
    var packets = frame.packets[...]
    let mustRetry = output.withLock { output in
      guard !output.isEnded else { return false }
      let isFree = output.waiting.isEmpty
      if isFree { while let first = packets.first, transmit(first) { packets.removeFirst() } }
      output.waiting += packets
      return isFree && !packets.isEmpty
    }
    if mustRetry { retry() }
  }

  private func retry() {
    backplane.after(.milliseconds(2)) { [self] in
      let isBlocked = output.withLock { output in
        while let first = output.waiting.first, transmit(first) { output.waiting.removeFirst() }
        return !output.waiting.isEmpty
      }
      if isBlocked { retry() }
    }
  }

  /// False if there is no room.
  private func transmit(_ octets: [UInt8]) -> Bool {
    unsafe octets.withUnsafeBytes {
      unsafe v_frame_send(descriptor, $0.baseAddress, $0.count, 0)
    } != -EAGAIN
  }

  private func read(_ handler: @Sendable (KeeperFrame?) -> Void) {
    while true {
      let seen = arrivals.load(ordering: .acquiring)
      switch receive() {
      case .frame(let frame):
        handler(frame)
      case .nothing:
        let isLeft = arrivals.compareExchange(
          expected: seen, desired: 0, ordering: .acquiringAndReleasing)
        if isLeft.exchanged { return }
      case .end:
        // `arrivals` stays: no thread reads from here on.
        backplane.unwatch(descriptor)
        shutdown(descriptor, Int32(SHUT_RDWR))
        output.withLock { output in
          output.waiting = []
          output.isEnded = true
        }
        return handler(nil)
      }
    }
  }

  private enum Received {
    case frame(KeeperFrame)
    case nothing
    case end
  }

  private func receive() -> Received {
    while true {
      switch receivePacket() {
      case .packet(let octets):
        do throws(WireError) {
          if let frame = try take(octets) { return .frame(frame) }
        } catch {
          // A keeper that sends unknown frames is treated as ended.
          return .end
        }
      case .nothing: return .nothing
      case .end: return .end
      }
    }
  }

  private func take(_ packet: [UInt8]) throws(WireError) -> KeeperFrame? {
    let result = assembly.withLock { assembly -> Result<KeeperFrame?, WireError> in
      do throws(WireError) {
        return .success(try assembly.take(packet))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private enum ReceivedPacket {
    case packet([UInt8])
    case nothing
    case end
  }

  private func receivePacket() -> ReceivedPacket {
    while true {
      // Most frames are small and few are large: so it asks for the size first.
      let size = Int(recv(descriptor, nil, 0, Self.peek))
      if size < 0 {
        // If a keeper ended before reading everything, its own frames are still here.
        if errno == EINTR || errno == ECONNRESET { continue }
        return errno == EAGAIN ? .nothing : .end
      }
      guard size > 0, size <= KeeperFrame.packetBytesMax else { return .end }
      let octets = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
        filled = unsafe max(0, Int(v_frame_receive(descriptor, buffer.baseAddress, size)))
      }
      return .packet(octets)
    }
  }

  private static let peek = Int32(MSG_PEEK) | Int32(MSG_TRUNC) | Int32(MSG_DONTWAIT)
}
