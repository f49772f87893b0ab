internal import CFuse3
internal import CVLinux
internal import Glibc
internal import Synchronization

/// Requests that cannot begin, because the name of their user is not known yet.
///
/// Only requests of users that were never looked up wait here: they delay each other at most.
struct HeldRequests: Sendable {
  private var requests: [UInt64: Held] = [:]

  struct Held: Sendable {
    var reader: FuseReader
    var bytes: Int
    var user: UInt32
  }

  /// Requests of one user: threads of a program before their first answer.
  static let userMax = 64
  /// Requests of all users; each may be a write of the largest size.
  static let allMax = 256

  /// False if there is no room.
  mutating func add(_ held: Held, unique: UInt64) -> Bool {
    guard requests.count < Self.allMax,
      requests.values.count(where: { $0.user == held.user }) < Self.userMax
    else { return false }
    requests[unique] = held
    return true
  }

  mutating func take(_ unique: UInt64) -> Held? { requests.removeValue(forKey: unique) }
}

extension FuseSession {
  /// Whether a request can begin: its names are known and noted in the reader.
  ///
  /// If not, it is kept here until they are, or answered with an error when that takes too long.
  func admit(_ reader: FuseReader, bytes: Int) -> Bool {
    let numbers = reader.numbers
    if let names = system.names(of: numbers) {
      reader.names = names
      return true
    }
    let unique = reader.header.unique
    guard let copy = FuseReader(copying: reader, bytes: bytes),
      held.withLock({
        $0.add(
          HeldRequests.Held(reader: copy, bytes: bytes, user: numbers.user), unique: unique)
      })
    else {
      refuse(unique, EAGAIN)
      return false
    }
    system.findNames(of: numbers) { [self, system] in resume(unique, system) }
    return false
  }

  private func resume(_ unique: UInt64, _ system: any FileSystem) {
    guard let held = held.withLock({ $0.take(unique) }) else { return }
    // It never begins as another user instead.
    guard let names = system.names(of: held.reader.numbers) else { return refuse(unique, EIO) }
    held.reader.names = names
    process(held.reader, bytes: held.bytes)
  }

  /// Ends a request that waits here, because of a signal; false if there is none.
  func endHeld(_ unique: UInt64) -> Bool {
    guard held.withLock({ $0.take(unique) }) != nil else { return false }
    refuse(unique, EINTR)
    return true
  }
}

extension FuseReader {
  /// The numbers of users and groups in the present request.
  fileprivate var numbers: RequestNumbers {
    let header = header
    var numbers = RequestNumbers(user: header.uid)
    if fuse_opcode(header.opcode) == FUSE_SETATTR {
      let change = arguments(fuse_setattr_in.self)
      if change.valid & UInt32(FATTR_UID) != 0 { numbers.owner = change.uid }
      if change.valid & UInt32(FATTR_GID) != 0 { numbers.group = change.gid }
    }
    return numbers
  }
}
