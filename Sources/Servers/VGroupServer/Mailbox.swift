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
    var isClosed = false
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
    let isKept = state.withLock { state in
      guard !state.isClosed, state.shares.take(sender) else { return false }
      state.messages.append(Kept(text: message, sender: sender))
      return true
    }
    if !isKept { all.give(sender) }
    return isKept
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
    let isKept = state.withLock { state in
      if !state.isClosed { state.messages.insert(kept, at: 0) }
      return !state.isClosed
    }
    if !isKept { forget(kept) }
  }

  /// The mailbox has left its group: its readers get the end.
  package func close() {
    let (readers, messages) = state.withLock { state in
      state.isClosed = true
      defer { (state.readers, state.messages) = ([], []) }
      return (state.readers, state.messages)
    }
    for kept in messages { forget(kept) }
    for reader in readers { reader.call.answer(data: []) }
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
}
