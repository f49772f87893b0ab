public import VProtocol

/// An object that is more than a text: what opens, reads and writes it decides for itself, and may
/// let a reader or writer wait.
public protocol TreeFile: Sendable {
  var access: TreeAccess { get }
  /// What an instance of it can do; a read or write that may wait for others needs `stream`, by
  /// which Linux signals end it.
  var attributes: UIOAttributes { get }
  /// Octets; 0 where it has no end.
  var size: UInt64 { get }
  /// Opens it for a caller who has the rights, then calls `opened` once.
  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened)
  /// Changes it for a caller who has the right to write.
  func modify(_ modification: Modification, _ caller: Caller) -> Refusal?
}

extension TreeFile {
  public func modify(_ modification: Modification, _ caller: Caller) -> Refusal? {
    modification.isHarmless ? nil : Refusal(.notOwner)
  }
}

extension Modification {
  /// What programs do around writing is no error: cutting to a size and setting times.
  var isHarmless: Bool { permissions == nil && owner == nil && group == nil }
}

/// Gets the session that was opened, or why none was.
public typealias TreeOpened = @Sendable (Result<any TreeSession, Refusal>) -> Void

/// How and by whom a file is opened.
public struct TreeOpening: Sendable {
  public var mode: OpenMode
  public var caller: Caller
}

/// One instance of a file.
public protocol TreeSession: AnyObject, Sendable {
  /// Answers with `call.answer(data:)`, now or later; no octets are the end.
  func read(_ count: Int, at position: UInt64, _ call: TreeCall)
  /// Answers with `call.answer(count:)`, now or later.
  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall)
  /// Tells, soon, what can be done without waiting for others: everything, unless a session says
  /// something else.
  func look(_ done: @escaping @Sendable (Readiness) -> Void)
  /// Answers with `call.answer(ready:)` as soon as that `meets` what is wanted; always at once,
  /// unless a session says something else.
  func wait(for wanted: Readiness, _ call: TreeCall)
  /// The instance has ended; all of its calls have been answered.
  func close()
  /// The same, where its owner's host was silent for long: the owner may live, and come again.
  func lose()
}

extension TreeSession {
  public func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    call.refuse(Refusal(.notReadable))
  }
  public func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    call.refuse(Refusal(.notWriteable))
  }
  public func look(_ done: @escaping @Sendable (Readiness) -> Void) {
    done([.readable, .writeable])
  }
  public func wait(for wanted: Readiness, _ call: TreeCall) {
    look { call.answer(ready: $0) }
  }
  public func close() {}
  public func lose() { close() }
}
