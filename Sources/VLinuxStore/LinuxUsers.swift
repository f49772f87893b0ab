import CVLinux
import Synchronization
import VProtocol
public import VStore

/// The user table of this host, as the name service switch gives it.
///
/// Answers are remembered until /etc/passwd or /etc/group changes, which is looked at once a
/// second, and at most a minute, since users may come from elsewhere.
public final class LinuxUsers: UserTable {
  private struct Freshness {
    var checkedAt: Int64 = 0
    var filledAt: Int64 = 0
    var changes: [Int64] = []
  }

  private let freshness = Mutex(Freshness())
  private let users = Memory<String, Credentials>()
  private let groups = Memory<String, UInt32>()
  private let userNames = Memory<UInt32, String>()
  private let groupNames = Memory<UInt32, String>()

  public init() {}

  public func credentials(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> Credentials? {
    refresh()
    return try users.value(of: name, patience) { name in
      var uid: UInt32 = 0
      var gid: UInt32 = 0
      var groups = [UInt32](repeating: 0, count: Self.groupsMax)
      var count = Int32(Self.groupsMax)
      guard unsafe v_user_by_name(name, &uid, &gid, &groups, &count) > 0 else { return nil }
      return Credentials(uid: uid, gid: gid, groups: Array(groups[..<Int(count)]))
    }
  }

  public func groupID(_ name: String, _ patience: Patience) throws(StoreFailure) -> UInt32? {
    refresh()
    return try groups.value(of: name, patience) { name in
      var gid: UInt32 = 0
      return unsafe v_group_by_name(name, &gid) > 0 ? gid : nil
    }
  }

  public func userName(_ uid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    refresh()
    return try userNames.value(of: uid, patience) { Self.name(of: $0, isGroup: false) }
  }

  public func groupName(_ gid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    refresh()
    return try groupNames.value(of: gid, patience) { Self.name(of: $0, isGroup: true) }
  }

  private static func name(of id: UInt32, isGroup: Bool) -> String? {
    var octets = [CChar](repeating: 0, count: Descriptor.nameBytesMax + 1)
    let count = unsafe v_name_of_id(id, isGroup ? 1 : 0, &octets, octets.count)
    guard count > 0 else { return nil }
    return String(validating: octets[..<Int(count)], as: UTF8.self)
  }

  /// Forgets everything where the files changed or the answers are old.
  private func refresh() {
    let now = v_coarse_clock()
    let isStale = freshness.withLock { freshness in
      guard now - freshness.checkedAt >= Self.checkNanoseconds else { return false }
      freshness.checkedAt = now
      let changes = unsafe [v_changed_at("/etc/passwd"), v_changed_at("/etc/group")]
      guard changes != freshness.changes || now - freshness.filledAt >= Self.ageNanosecondsMax
      else { return false }
      freshness.changes = changes
      freshness.filledAt = now
      return true
    }
    guard isStale else { return }
    users.clear()
    groups.clear()
    userNames.clear()
    groupNames.clear()
  }

  /// Rights through further groups are not given; more than any user here has.
  private static let groupsMax = 256
  private static let checkNanoseconds: Int64 = 1_000_000_000
  private static let ageNanosecondsMax: Int64 = 60_000_000_000
}

/// Answers of one kind, the absent ones too; begins anew when it is full.
private final class Memory<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private let answers = Mutex<[Key: Value?]>([:])

  func value(
    of key: Key, _ patience: Patience, _ find: (Key) -> Value?
  ) throws(StoreFailure) -> Value? {
    if let answer = answers.withLock({ $0[key] }) { return answer }
    guard patience == .mayWait else { throw .wouldWait }
    let answer = find(key)
    answers.withLock { answers in
      if answers.count >= Self.answersMax { answers.removeAll() }
      answers.updateValue(answer, forKey: key)
    }
    return answer
  }

  func clear() { answers.withLock { $0.removeAll() } }

  /// More names than a host has in use; also bounds what unknown names can fill.
  private static var answersMax: Int { 1024 }
}
