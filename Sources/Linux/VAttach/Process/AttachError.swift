import CVLinux
import Glibc

/// Why a process could not attach to its node, in one sentence.
public struct AttachError: Error, Equatable, Sendable, CustomStringConvertible {
  public var description: String
  /// There is a node, and it has not answered in time.
  public var isSilent = false

  static func noNode(_ path: String) -> AttachError {
    AttachError(description: "cannot reach the node at \(path): is vnode running?")
  }
}

extension AttachSocket {
  /// The process's end of the socket at `path`.
  convenience init(path: String) throws(AttachError) {
    let descriptor = unsafe v_attach_connect(path)
    guard descriptor >= 0 else {
      switch -descriptor {
      case ENOENT, ECONNREFUSED, EAGAIN: throw .noNode(path)
      case let error:
        let reason = unsafe String(cString: strerror(error))
        throw AttachError(description: "cannot reach the node at \(path): \(reason)")
      }
    }
    self.init(descriptor)
  }
}
