import Synchronization
package import VObjects
package import VProtocol

/// How many messages wait in all mailboxes of a group server, by their senders.
package final class MessageShares: Sendable {
  private let shares: Mutex<Shares>

  /// At most 12 MB; one user has a quarter of it, whoever the receivers are.
  package static let messagesMax = 16_384

  package init(host: String) { shares = Mutex(Shares(capacity: Self.messagesMax, ownHost: host)) }

  package func take(_ sender: Principal) -> Bool { shares.withLock { $0.take(sender) } }
  package func give(_ sender: Principal) { shares.withLock { $0.give(sender) } }
  package var count: Int { shares.withLock { $0.count } }
}

/// A member that keeps messages until they are read: each read gets one, in the order of arrival.
package final class Mailbox: Sendable {
  /// A read that waits; `give` returns false if it has ended.
  private struct Reader: Sendable {
    var call: TreeCall
    var give: @Sendable ([UInt8]) -> Bool
  }

  private struct Kept: Sendable {
    var text: [UInt8]
    var sender: Principal
  }

  private struct State: Sendable {
    var messages: [Kept] = []
    var shares: Shares
    var readers: [Reader] = []
    /// Who waits for something to read.
    var looks: [TreeCall] = []
    var isClosed = false

    var readiness: Readiness { messages.isEmpty ? isClosed ? .ended : [] : .readable }

    /// Those who need not wait any more.
    mutating func takeLooks() -> [TreeCall] {
      guard !readiness.isEmpty else { return [] }
      defer { looks = [] }
      return looks
    }
  }

  private let state: Mutex<State>
  private let all: MessageShares

  /// One sender has a quarter of it, so that a flood leaves room for others.
  package static let messagesMax = 256
  package static let full = "full, as many messages of one sender wait as it keeps"

  package init(host: String, _ all: MessageShares) {
    state = Mutex(State(shares: Shares(capacity: Self.messagesMax, ownHost: host)))
    self.all = all
  }

  /// False if this sender has used up its share.
  package func put(_ text: String, from sender: Principal) -> Bool {
    let message = Array(text.utf8)
    while let reader = state.withLock({ $0.readers.isEmpty ? nil : $0.readers.removeFirst() }) {
      if reader.give(message) { return true }
    }
    guard all.take(sender) else { return false }
    let (isKept, looks) = state.withLock { state -> (Bool, [TreeCall]) in
      guard !state.isClosed, state.shares.take(sender) else { return (false, []) }
      state.messages.append(Kept(text: message, sender: sender))
      return (true, state.takeLooks())
    }
    if !isKept { all.give(sender) }
    for call in looks { call.answer(ready: .readable) }
    return isKept
  }

  var readiness: Readiness { state.withLock { $0.readiness } }

  /// Answers as soon as there is something to read, or nothing to come.
  func wait(_ call: TreeCall) {
    let (ready, looks) = state.withLock { state -> (Readiness, [TreeCall]) in
      state.looks.append(call)
      return (state.readiness, state.takeLooks())
    }
    for look in looks { look.answer(ready: ready) }
    call.whenCancelled { [self] in state.withLock { $0.looks.removeAll { $0 === call } } }
  }

  /// Calls `give` with the next message, now or later.
  package func take(_ call: TreeCall, _ give: @escaping @Sendable ([UInt8]) -> Bool) {
    let (kept, isClosed) = state.withLock { state -> (Kept?, Bool) in
      guard state.messages.isEmpty else { return (state.messages.removeFirst(), false) }
      if !state.isClosed { state.readers.append(Reader(call: call, give: give)) }
      return (nil, state.isClosed)
    }
    if isClosed { call.answer(data: []) }
    if let kept {
      if give(kept.text) { forget(kept) } else { putBack(kept) }
      return
    }
    call.whenCancelled { [self] in
      state.withLock { $0.readers.removeAll { $0.call === call } }
    }
  }

  private func forget(_ kept: Kept) {
    state.withLock { $0.shares.give(kept.sender) }
    all.give(kept.sender)
  }

  private func putBack(_ kept: Kept) {
    let (isKept, looks) = state.withLock { state in
      if !state.isClosed { state.messages.insert(kept, at: 0) }
      return (!state.isClosed, state.isClosed ? [] : state.takeLooks())
    }
    if !isKept { forget(kept) }
    for call in looks { call.answer(ready: .readable) }
  }

  /// The mailbox has left its group: its readers get the end.
  package func close() {
    let (readers, looks, messages) = state.withLock { state in
      state.isClosed = true
      defer { state.readers = [] }
      let messages = state.messages
      state.messages = []
      return (state.readers, state.takeLooks(), messages)
    }
    for kept in messages { forget(kept) }
    for reader in readers { reader.call.answer(data: []) }
    for call in looks { call.answer(ready: .ended) }
  }

  /// Messages that wait.
  package var count: Int { state.withLock { $0.messages.count } }
}

/// A member as a file: the messages of this host's mailboxes; empty for other members.
struct MemberFile: TreeFile {
  let owner: String
  let mailbox: Mailbox?

  var access: TreeAccess { TreeAccess(owner: owner, permissions: 0o600) }
  /// Writeable, so that touch works.
  var attributes: UIOAttributes { [.readable, .writeable, .stream, .variableBlock] }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    opened(.success(MemberSession(mailbox)))
  }
}

private final class MemberSession: TreeSession {
  private let mailbox: Mailbox?
  /// The rest of a message that was longer than wanted.
  private let rest = Mutex<ArraySlice<UInt8>>([])

  init(_ mailbox: Mailbox?) { self.mailbox = mailbox }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    guard let mailbox else {
      call.refuse(Refusal(.notSupported, "only a mailbox is read, and on its own host"))
      return
    }
    let left = rest.withLock { rest in
      defer { rest = rest.dropFirst(count) }
      return Array(rest.prefix(count))
    }
    if !left.isEmpty {
      call.answer(data: left)
      return
    }
    mailbox.take(call) { [self] message in
      guard call.answer(data: Array(message.prefix(count))) else { return false }
      rest.withLock { $0 = message.dropFirst(count) }
      return true
    }
  }

  /// Only reading waits.
  func look(_ done: @escaping @Sendable (Readiness) -> Void) {
    let ready: Readiness = hasRest ? .readable : mailbox?.readiness ?? .readable
    done(ready.union(.writeable))
  }

  func wait(for wanted: Readiness, _ call: TreeCall) {
    guard let mailbox, !hasRest, !wanted.contains(.writeable) else {
      return look { call.answer(ready: $0) }
    }
    mailbox.wait(call)
  }

  private var hasRest: Bool { rest.withLock { !$0.isEmpty } }
}
