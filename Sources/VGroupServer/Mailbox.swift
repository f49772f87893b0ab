import Synchronization
import VObjects
import VProtocol

/// A member that keeps messages until somebody reads them: one for each read, the first one first.
final class Mailbox: Sendable {
  /// A read that waits; `give` is false where it has ended.
  private struct Reader: Sendable {
    var call: TreeCall
    var give: @Sendable ([UInt8]) -> Bool
  }

  private struct State: Sendable {
    var messages: [[UInt8]] = []
    var readers: [Reader] = []
    var isClosed = false
  }

  private let state = Mutex(State())

  private static let messagesMax = 64
  static let full = "full, \(messagesMax) messages wait"

  /// False where it is full.
  func put(_ text: String) -> Bool {
    let message = Array(text.utf8)
    while let reader = state.withLock({ $0.readers.isEmpty ? nil : $0.readers.removeFirst() }) {
      if reader.give(message) { return true }
    }
    return state.withLock { state in
      guard state.messages.count < Self.messagesMax else { return false }
      state.messages.append(message)
      return true
    }
  }

  /// Calls `give` with the next message, now or later.
  func take(_ call: TreeCall, _ give: @escaping @Sendable ([UInt8]) -> Bool) {
    let (message, isClosed) = state.withLock { state -> ([UInt8]?, Bool) in
      guard state.messages.isEmpty else { return (state.messages.removeFirst(), false) }
      if !state.isClosed { state.readers.append(Reader(call: call, give: give)) }
      return (nil, state.isClosed)
    }
    if isClosed { call.answer(data: []) }
    if let message {
      if !give(message) { state.withLock { $0.messages.insert(message, at: 0) } }
      return
    }
    call.whenCancelled { [self] in
      state.withLock { $0.readers.removeAll { $0.call === call } }
    }
  }

  /// Has left its group: whoever reads finds the end.
  func close() {
    let readers = state.withLock { state in
      state.isClosed = true
      defer { state.readers = [] }
      return state.readers
    }
    for reader in readers { reader.call.answer(data: []) }
  }
}

/// A member as a file: what this host's mailboxes hold, and nothing of the others.
struct MemberFile: TreeFile {
  let owner: String
  let mailbox: Mailbox?

  var access: TreeAccess { TreeAccess(owner: owner, permissions: 0o600) }
  /// Writeable, so that it may be touched.
  var attributes: UIOAttributes { [.readable, .writeable, .stream, .variableBlock] }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    opened(.success(MemberSession(mailbox)))
  }
}

private final class MemberSession: TreeSession {
  private let mailbox: Mailbox?
  /// Of a message that was longer than what its reader wanted.
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
