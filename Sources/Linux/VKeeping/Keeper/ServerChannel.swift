import CVLinux
import Glibc
import VProtocol

/// The keeper's end of the socket to a team server.
final class ServerChannel {
  let descriptor: Int32
  /// Frames for which the socket had no room.
  private var waiting: [KeeperFrame] = []
  /// The unsent packets of the first of them, once it is partly sent.
  private var packets: [[UInt8]] = []
  private var assembly = FrameAssembly()
  private var buffer = [UInt8](repeating: 0, count: KeeperFrame.packetBytesMax)

  init(takingOver descriptor: Int32) {
    self.descriptor = descriptor
    v_attach_room(descriptor)
  }

  deinit { close(descriptor) }

  enum Received {
    case frame(KeeperFrame)
    case nothing
    /// The server has ended, or sends unknown frames.
    case end
  }

  func receive() -> Received {
    while true {
      let count = unsafe Int(v_frame_receive(descriptor, &buffer, buffer.count))
      if count == -Int(EAGAIN) { return .nothing }
      guard count > 0, count <= buffer.count else { return .end }
      do throws(WireError) {
        if let frame = try assembly.take(Array(buffer[..<count])) { return .frame(frame) }
      } catch {
        return .end
      }
    }
  }

  /// Waits for the next frame; nil at the end.
  func next() -> KeeperFrame? {
    while true {
      switch receive() {
      case .frame(let frame): return frame
      case .nothing: if v_frame_wait(descriptor, -1) < 0 { return nil }
      case .end: return nil
      }
    }
  }

  var hasWaiting: Bool { !waiting.isEmpty }

  /// Sends a frame, or keeps it until `flush`.
  func send(_ frame: KeeperFrame) {
    // A program that changes its state often must not fill the memory: only the last state is kept.
    if case .changed = frame, case .changed = waiting.last, packets.isEmpty {
      waiting.removeLast()
    }
    waiting.append(frame)
    flush()
  }

  /// Sends waiting frames, as far as there is room.
  func flush() {
    while let frame = waiting.first {
      if packets.isEmpty { packets = frame.packets }
      while let octets = packets.first {
        if unsafe v_frame_send(descriptor, octets, octets.count, 0) == -EAGAIN { return }
        packets.removeFirst()
      }
      waiting.removeFirst()
    }
  }
}
