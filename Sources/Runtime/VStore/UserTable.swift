internal import Synchronization
public import VProtocol
public import VRuntime

/// Users and groups of the host that serves: names on the wire, numbers on the disk.
///
/// Nil is said only where the host has no such user or group. A table that cannot tell refuses
/// (`noServerResources`, `deviceError`); one that does not know yet says `wouldWait` to whoever
/// asks `atOnce`, and `heldUp` to whoever may wait, if it takes longer than a disk would.
public protocol UserTable: Sendable {
  /// Nil where the host has no such user.
  func credentials(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> Credentials?
  /// The same, with what a login of the user begins with.
  func account(ofUser name: String, _ patience: Patience) throws(StoreFailure) -> UserAccount?
  func groupID(_ name: String, _ patience: Patience) throws(StoreFailure) -> UInt32?
  /// Nil where the number has no name.
  func userName(_ uid: UInt32, _ patience: Patience) throws(StoreFailure) -> String?
  func groupName(_ gid: UInt32, _ patience: Patience) throws(StoreFailure) -> String?

  /// Calls `done` once, on any thread, when the question is answered or refused `atOnce`, and the
  /// answer is no old one; or when no more can wait, and then it is still `wouldWait`, or old.
  ///
  /// A table that hangs does not call it: see `prepare(_:on:)`.
  func prepare(_ question: UserQuestion, _ done: @escaping @Sendable () -> Void)
}

/// What a user table is asked.
public enum UserQuestion: Hashable, Sendable {
  case user(String)
  case group(String)
  case userName(UInt32)
  case groupName(UInt32)
}

/// What a user of the host is.
public struct UserAccount: Equatable, Sendable {
  public var credentials: Credentials
  /// The home directory; empty where there is none.
  public var home: [UInt8]
  public var shell: [UInt8]

  public init(_ credentials: Credentials, home: [UInt8], shell: [UInt8]) {
    self.credentials = credentials
    self.home = home
    self.shell = shell
  }
}

extension UserTable {
  /// Of a table that knows no more: the root directory, and the shell that every host has.
  public func account(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> UserAccount? {
    try credentials(ofUser: name, patience).map {
      UserAccount($0, home: Array("/".utf8), shell: Array("/bin/sh".utf8))
    }
  }

  /// Of a table that is in memory.
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
  /// Nobody waits longer for a table of users that hangs: a person has given up by then.
  public static let timeLimit = TimeSpan.seconds(10)
}
