import CVLinux
import Glibc
import VRuntime

/// One end of a node's local socket: frames out and in.
final class AttachSocket: Sendable {
  let descriptor: Int32

  /// Takes over an open descriptor.
  init(_ descriptor: Int32) { self.descriptor = descriptor }

  deinit { close(descriptor) }

  /// Closes the connection for both sides.
  func end() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// Sends a frame, when there is room; it is lost if the other side has closed.
  func send(_ frame: AttachFrame) { _ = send(frame, waits: true) }

  /// Sends a frame if there is room for it; else sends nothing and returns false.
  func trySend(_ frame: AttachFrame) -> Bool { send(frame, waits: false) != -EAGAIN }

  private func send(_ frame: AttachFrame, waits: Bool) -> Int32 {
    unsafe withUnsafeTemporaryAllocation(byteCount: frame.byteCount, alignment: 8) { buffer in
      var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
      let size = frame.emit(into: &span)
      return unsafe v_frame_send(descriptor, buffer.baseAddress, size, waits ? 1 : 0)
    }
  }

  enum Received {
    case frame(AttachFrame)
    /// Nothing more has come yet.
    case nothing
    /// The octets are not a frame.
    case noFrame
    case end
  }

  /// The next frame.
  func receive() -> Received {
    unsafe withUnsafeTemporaryAllocation(byteCount: AttachFrame.byteCountMax, alignment: 8) {
      buffer in
      let count = unsafe Int(v_frame_receive(descriptor, buffer.baseAddress, buffer.count))
      if count == -Int(EAGAIN) { return .nothing }
      guard count > 0 else { return .end }
      guard count <= AttachFrame.byteCountMax else { return .noFrame }
      let packet = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count])
      let frame = try? AttachFrame(parsing: unsafe RawSpan(_unsafeBytes: packet))
      return frame.map { .frame($0) } ?? .noFrame
    }
  }

  /// Waits until `receive` has a frame; false if none came in time.
  func wait(milliseconds: Int32) -> Bool { v_frame_wait(descriptor, milliseconds) != 0 }
}
