import CVLinux
import Glibc
import Synchronization
import VRuntime

/// The process's end of the node's local socket: frames out and in.
final class AttachSocket: Sendable {
  let descriptor: Int32

  init(path: String) throws(AttachError) {
    descriptor = unsafe v_attach_connect(path)
    guard descriptor >= 0 else {
      let reason = unsafe String(cString: strerror(-descriptor))
      switch -descriptor {
      case ENOENT, ECONNREFUSED, EAGAIN: throw .noNode(path)
      default: throw AttachError(description: "cannot reach the node at \(path): \(reason)")
      }
    }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Both ends see the end.
  func end() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// Sends a frame, when there is room; one that the node is no longer there for is lost.
  func send(_ frame: AttachFrame) {
    unsafe withUnsafeTemporaryAllocation(byteCount: frame.byteCount, alignment: 8) { buffer in
      var span = unsafe MutableRawSpan(_unsafeBytes: buffer)
      let size = frame.emit(into: &span)
      _ = unsafe v_frame_send(descriptor, buffer.baseAddress, size, 1)
    }
  }

  enum Received {
    case frame(AttachFrame)
    case nothing
    case end
  }

  /// The next frame.
  ///
  /// What is not a frame can only be of a node that this process does not
  /// understand: that is the end as well.
  func receive() -> Received {
    unsafe withUnsafeTemporaryAllocation(byteCount: AttachFrame.byteCountMax, alignment: 8) {
      buffer in
      let count = unsafe Int(v_frame_receive(descriptor, buffer.baseAddress, buffer.count))
      if count == -Int(EAGAIN) { return .nothing }
      guard count > 0, count <= AttachFrame.byteCountMax else { return .end }
      let packet = unsafe UnsafeRawBufferPointer(rebasing: buffer[..<count])
      guard let frame = try? AttachFrame(parsing: unsafe RawSpan(_unsafeBytes: packet)) else {
        return .end
      }
      return .frame(frame)
    }
  }

  /// Waits until `receive` has something; false if nothing came in time.
  func wait(milliseconds: Int32) -> Bool { v_frame_wait(descriptor, milliseconds) != 0 }
}

extension AttachError {
  static func noNode(_ path: String) -> AttachError {
    AttachError(
      description: "cannot reach the node at \(path): is vnode running? (start it with mount/up)")
  }
}
