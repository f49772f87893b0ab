import Glibc
import Synchronization

/// The file of all that entered this node's kernel, for those who look for a fault in it.
///
/// It holds what users read and write, so only root may read it; it holds no key. It must be new,
/// so that nobody has opened it before.
final class RecordingFile: Sendable {
  private let path: String
  private let descriptor: Int32
  private let octets = Atomic(0)

  /// Some minutes of a busy node; more would fill the disk of a host that is forgotten.
  private static let octetsMax = 1 << 30

  init(path: String) throws {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw ConfigurationError(description: "--record \(path): \(String(cString: strerror(errno)))")
    }
  }

  deinit { close(descriptor) }

  /// Called by one thread at a time; each record is written at once, so that it outlives the node.
  func append(_ record: [UInt8]) -> Bool {
    let end = octets.add(record.count, ordering: .relaxed).newValue
    if end <= Self.octetsMax, write(descriptor, record, record.count) == record.count {
      return true
    }
    log.warning("\(path) is full or cannot be written: the recording has ended")
    return false
  }
}
