internal import Synchronization
public import VProtocol
public import VRuntime

/// Users and groups of the serving host: names on the wire, numbers on the disk.
///
/// Nil means that the host has no such user or group. A table that gives no answer refuses
/// (`noServerResources`, `deviceError`). One that does not know yet throws `wouldWait` for an
/// `atOnce` call, and `heldUp` for a call that may wait, if it takes longer than a disk would.
public protocol UserTable: Sendable {
  /// Nil if the host has no such user.
  func credentials(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> Credentials?
  /// The same, with the home and shell of the user.
  func account(ofUser name: String, _ patience: Patience) throws(StoreFailure) -> UserAccount?
  func groupID(_ name: String, _ patience: Patience) throws(StoreFailure) -> UInt32?
  /// Nil if the number has no name.
  func userName(_ uid: UInt32, _ patience: Patience) throws(StoreFailure) -> String?
  func groupName(_ gid: UInt32, _ patience: Patience) throws(StoreFailure) -> String?

  /// Calls `done` once, on any thread, when the question can be answered or refused `atOnce` with a
  /// fresh answer; or when too many questions wait, and then the answer is still `wouldWait`, or
  /// old.
  ///
  /// A table that hangs does not call it: see `prepare(_:on:)`.
  func prepare(_ question: UserQuestion, _ done: @escaping @Sendable () -> Void)
}

/// A question to a user table.
public enum UserQuestion: Hashable, Sendable {
  case user(String)
  case group(String)
  case userName(UInt32)
  case groupName(UInt32)
}

/// An account of the host.
public struct UserAccount: Equatable, Sendable {
  public var credentials: Credentials
  /// The home directory; empty if there is none.
  public var home: [UInt8]
  public var shell: [UInt8]

  public init(_ credentials: Credentials, home: [UInt8], shell: [UInt8]) {
    self.credentials = credentials
    self.home = home
    self.shell = shell
  }
}

extension UserTable {
  /// For a table without accounts: the root directory, and the shell that every host has.
  public func account(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> UserAccount? {
    try credentials(ofUser: name, patience).map {
      UserAccount($0, home: Array("/".utf8), shell: Array("/bin/sh".utf8))
    }
  }

  /// For a table in memory.
  public func prepare(_ question: UserQuestion, _ done: @escaping @Sendable () -> Void) { done() }

  /// Prepares the answers to several questions; `done` is called once, at most
  /// `UserQuestion.timeLimit` later, on any thread.
  public func prepare(
    _ questions: [UserQuestion], on backplane: any Backplane, _ done: @escaping @Sendable () -> Void
  ) {
    if questions.isEmpty { return done() }
    let isOver = Atomic(false)
    let finish: @Sendable () -> Void = {
      if !isOver.exchange(true, ordering: .relaxed) { done() }
    }
    let left = Atomic(questions.count)
    for question in questions {
      prepare(question) {
        if left.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 { finish() }
      }
    }
    guard !isOver.load(ordering: .relaxed) else { return }
    backplane.after(UserQuestion.timeLimit, finish)
  }
}

extension UserQuestion {
  /// The longest wait for a table of users that hangs: a person has given up by then.
  public static let timeLimit = TimeSpan.seconds(10)
}
