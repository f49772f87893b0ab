/// The user table of this host, as a mount asks it: it answers at once what it knows, and is asked
/// to look for the rest.
public protocol UserNames: Sendable {
  func userName(_ id: UInt32) -> NameAnswer<String>
  func groupName(_ id: UInt32) -> NameAnswer<String>
  func userID(_ name: String) -> NameAnswer<UInt32>
  func groupID(_ name: String) -> NameAnswer<UInt32>
  /// Looks for what is unknown, and anew for what is only known from earlier; calls `done` once, on
  /// any thread: when all of it is known, or after some seconds at most.
  func find(_ questions: [NameQuestion], _ done: @escaping @Sendable () -> Void)
}

/// What a table says at once.
public enum NameAnswer<Value: Sendable>: Sendable {
  case known(Value)
  /// The host has no such user or group.
  case absent
  /// Nobody has asked yet, or the table does not tell.
  case unknown
}

public enum NameQuestion: Hashable, Sendable {
  case userName(UInt32)
  case groupName(UInt32)
  case userID(String)
  case groupID(String)
}
