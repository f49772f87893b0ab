// fuse_lowlevel.h brings its own view of struct stat, which the module rule then asks for.
internal import CFuse3
internal import Glibc
internal import Synchronization
internal import VProtocol
internal import VRuntime

/// The user table of this host as V sees it: names for numbers and numbers for names.
///
/// Users and groups travel by name, or as `#N` where a number has none; a name that this host
/// does not have belongs to nobody. Answers are kept until the tables in /etc change, which is
/// looked at once a second, and for a minute at most, since other sources give no such sign.
final class Users: Sendable {
  /// Which state of a file an answer was taken from.
  private struct Stamp: Equatable {
    var inode: UInt = 0
    var seconds = 0
    var nanoseconds = 0

    init(_ path: String) {
      var status = stat()
      guard unsafe stat(path, &status) == 0 else { return }
      inode = status.st_ino
      seconds = status.st_mtim.tv_sec
      nanoseconds = status.st_mtim.tv_nsec
    }
  }

  private struct State {
    var userNames: [UInt32: String] = [:]
    var userIDs: [String: UInt32] = [:]
    var groupNames: [UInt32: String] = [:]
    var groupIDs: [String: UInt32] = [:]
    var stamps: [Stamp] = []
    var checkedAt: Time?
    var filledAt = Time(nanoseconds: 0)
  }

  private let backplane: any Backplane
  private let state = Mutex(State())

  private static let checkInterval = TimeSpan.seconds(1)
  private static let lifetime = TimeSpan.seconds(60)
  /// Names or numbers kept of each kind; beyond it that kind is learnt anew.
  private static let entriesMax = 1024
  /// The user `nobody` and the group `nogroup` of Debian, and the kernel's overflow identity.
  private static let nobody: UInt32 = 65534
  /// Room for one record of the user table, a group of some thousand members included.
  private static let recordBytes = 65536

  init(_ backplane: any Backplane) { self.backplane = backplane }

  func name(ofUser id: UInt32) -> String { find(id, in: \.userNames, Self.readName(ofUser:)) }
  func name(ofGroup id: UInt32) -> String { find(id, in: \.groupNames, Self.readName(ofGroup:)) }
  func id(ofUser name: String) -> UInt32 { find(name, in: \.userIDs, Self.readID(ofUser:)) }
  func id(ofGroup name: String) -> UInt32 { find(name, in: \.groupIDs, Self.readID(ofGroup:)) }

  /// The tables are read outside the lock; two threads may read the same record.
  private func find<Key: Hashable & Sendable, Value: Sendable>(
    _ key: Key, in kind: WritableKeyPath<State, [Key: Value]>, _ read: (Key) -> Value
  ) -> Value {
    let known = state.withLock { state -> Value? in
      refresh(&state)
      return state[keyPath: kind][key]
    }
    if let known { return known }
    let value = read(key)
    state.withLock { state in
      if state[keyPath: kind].count >= Self.entriesMax { state[keyPath: kind] = [:] }
      state[keyPath: kind][key] = value
    }
    return value
  }

  private func refresh(_ state: inout State) {
    let now = backplane.now
    if let checkedAt = state.checkedAt, now - checkedAt < Self.checkInterval { return }
    state.checkedAt = now
    let stamps = [Stamp("/etc/passwd"), Stamp("/etc/group")]
    if stamps == state.stamps, now - state.filledAt < Self.lifetime { return }
    state = State(stamps: stamps, checkedAt: now, filledAt: now)
  }
}

// MARK: - The tables of the C library

extension Users {
  private static func readName(ofUser id: UInt32) -> String {
    unsafe withRecord(passwd.self) { record, buffer, size, found in
      unsafe getpwuid_r(id, record, buffer, size, found)
    } read: {
      unsafe String(validatingCString: $0.pw_name)
    } ?? "#\(id)"
  }

  private static func readName(ofGroup id: UInt32) -> String {
    unsafe withRecord(group.self) { record, buffer, size, found in
      unsafe getgrgid_r(id, record, buffer, size, found)
    } read: {
      unsafe String(validatingCString: $0.gr_name)
    } ?? "#\(id)"
  }

  private static func readID(ofUser name: String) -> UInt32 {
    if let id = number(name) { return readName(ofUser: id) == name ? id : nobody }
    return unsafe withRecord(passwd.self) { record, buffer, size, found in
      unsafe getpwnam_r(name, record, buffer, size, found)
    } read: {
      unsafe $0.pw_uid
    } ?? nobody
  }

  private static func readID(ofGroup name: String) -> UInt32 {
    if let id = number(name) { return readName(ofGroup: id) == name ? id : nobody }
    return unsafe withRecord(group.self) { record, buffer, size, found in
      unsafe getgrnam_r(name, record, buffer, size, found)
    } read: {
      unsafe $0.gr_gid
    } ?? nobody
  }

  /// The number in `#N`, which means a number without a name here as well: shown as it is only
  /// where it would not look like somebody of this host.
  private static func number(_ name: String) -> UInt32? {
    name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
  }

  /// Calls one of the `_r` functions and reads the record that it found.
  private static func withRecord<Record, Value>(
    _ type: Record.Type,
    find: (
      UnsafeMutablePointer<Record>, UnsafeMutablePointer<CChar>, Int,
      UnsafeMutablePointer<UnsafeMutablePointer<Record>?>
    ) -> Int32,
    read: (Record) -> Value?
  ) -> Value? {
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: recordBytes) { buffer in
      unsafe withUnsafeTemporaryAllocation(of: Record.self, capacity: 1) { record in
        var found: UnsafeMutablePointer<Record>?
        _ = unsafe find(record.baseAddress!, buffer.baseAddress!, buffer.count, &found)
        guard let found = unsafe found else { return nil }
        return unsafe read(found.pointee)
      }
    }
  }
}
