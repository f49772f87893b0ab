/// The user table of this host as a mount uses it: it answers known names at once, and looks up
/// others on request.
public protocol UserNames: Sendable {
  func userName(_ id: UInt32) -> NameAnswer<String>
  func groupName(_ id: UInt32) -> NameAnswer<String>
  func userID(_ name: String) -> NameAnswer<UInt32>
  func groupID(_ name: String) -> NameAnswer<UInt32>
  /// Looks up unknown names, and refreshes old ones; calls `done` once, on any thread, when all of
  /// them are known, or after some seconds at most.
  func find(_ questions: [NameQuestion], _ done: @escaping @Sendable () -> Void)
}

/// An answer of the table without waiting.
public enum NameAnswer<Value: Sendable>: Sendable {
  case known(Value)
  /// The host has no such user or group.
  case absent
  /// Not looked up yet, or the table did not answer.
  case unknown
}

public enum NameQuestion: Hashable, Sendable {
  case userName(UInt32)
  case groupName(UInt32)
  case userID(String)
  case groupID(String)
}
