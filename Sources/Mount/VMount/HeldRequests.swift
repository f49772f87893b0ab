internal import CFuse3
internal import CVLinux
internal import Glibc
internal import Synchronization
internal import VProtocol
import VRuntime

/// The names that belong to the numbers in a request: of who asks, and, where it changes them, of
/// an object's new owner and group.
struct RequestNames: Sendable {
  var user = ""
  var owner = ""
  var group = ""
}

/// Requests that nobody can begin with, since the table of users has not told yet who asks.
///
/// Only users whom the table has never told of come to wait here: they hold up each other at most.
struct HeldRequests: Sendable {
  private var requests: [UInt64: Held] = [:]

  struct Held: Sendable {
    var reader: Reader
    var bytes: Int
    var user: UInt32
  }

  /// Requests of one user: threads of a program that have not been answered once.
  static let userMax = 64
  /// Of all of them; each may be a write of the largest size.
  static let allMax = 256

  /// False where there is no room.
  mutating func add(_ held: Held, unique: UInt64) -> Bool {
    guard requests.count < Self.allMax,
      requests.values.count(where: { $0.user == held.user }) < Self.userMax
    else { return false }
    requests[unique] = held
    return true
  }

  mutating func take(_ unique: UInt64) -> Held? { requests.removeValue(forKey: unique) }
}

extension Mount {
  /// Whether a request can begin: its names are known and noted in the reader.
  ///
  /// If not it is kept here until they are, or answered with an error when that takes too long.
  func admit(_ reader: Reader, bytes: Int) -> Bool {
    let questions = note(reader)
    if questions.isEmpty { return true }
    let header = reader.header
    guard let copy = Reader(copying: reader, bytes: bytes),
      held.withLock({
        $0.add(
          HeldRequests.Held(reader: copy, bytes: bytes, user: header.uid), unique: header.unique)
      })
    else {
      session.refuse(header.unique, EAGAIN)
      return false
    }
    users.table.find(questions) { [self] in resume(header.unique) }
    return false
  }

  private func resume(_ unique: UInt64) {
    guard let held = held.withLock({ $0.take(unique) }) else { return }
    // Never as somebody else instead.
    guard note(held.reader).isEmpty else { return session.refuse(unique, EIO) }
    session.process(held.reader, bytes: held.bytes)
  }

  /// A signal ends a request that waits here; false if there is none.
  func endHeld(_ unique: UInt64) -> Bool {
    guard held.withLock({ $0.take(unique) }) != nil else { return false }
    session.refuse(unique, EINTR)
    return true
  }

  /// Notes the names of a request; what the table has to be asked first, if it is.
  private func note(_ reader: Reader) -> [NameQuestion] {
    let header = reader.header
    var questions: [NameQuestion] = []
    func known(_ name: String?, _ question: NameQuestion) -> String {
      if name == nil { questions.append(question) }
      return name ?? ""
    }
    var names = RequestNames()
    names.user = known(users.principal(ofUser: header.uid), .userName(header.uid))
    if fuse_opcode(header.opcode) == FUSE_SETATTR {
      let change = reader.arguments(fuse_setattr_in.self)
      if change.valid & UInt32(FATTR_UID) != 0 {
        names.owner = known(users.name(ofUser: change.uid), .userName(change.uid))
      }
      if change.valid & UInt32(FATTR_GID) != 0 {
        names.group = known(users.name(ofGroup: change.gid), .groupName(change.gid))
      }
    }
    reader.names = names
    return questions
  }
}

extension FuseRequest {
  /// Goes on with the numbers of a descriptor's owner and group, as soon as the table of users has
  /// told them; does `otherwise`, which fails the request, if it does not.
  func withOwner(
    of descriptor: Descriptor, _ body: @escaping @Sendable (OwnerNumbers) -> Void,
    otherwise: @escaping @Sendable () -> Void
  ) {
    if let numbers = mount.users.numbers(of: descriptor) { return body(numbers) }
    noteWait()
    mount.users.table.find(mount.users.questions(about: descriptor)) { [self] in
      guard let numbers = mount.users.numbers(of: descriptor) else { return otherwise() }
      body(numbers)
    }
  }
}
