import Synchronization
import VObjects
import VProtocol
import VRuntime

/// What the members said to a message, or why it was not sent: for the user who sent it.
struct GroupReports: Sendable {
  struct Key: Hashable {
    var group: String
    var principal: Principal
  }

  private var texts: [Key: String] = [:]

  /// Beyond it all are forgotten.
  private static let reportsMax = 256

  subscript(key: Key) -> String {
    get { texts[key] ?? "" }
    set {
      if texts.count >= Self.reportsMax { texts.removeAll() }
      texts[key] = newValue
    }
  }
}

extension GroupServer {
  private struct Sending: Sendable {
    /// Members that have not answered.
    var missing: Set<String>
    var lines: [String: String] = [:]
    var isOver = false
  }

  /// Members whose board has just been heard have so long for their answers.
  private static let replyLimit = TimeSpan.seconds(2)

  /// Sends a message to all members by one group Send; `done` gets a line for each.
  func send(
    _ text: String, to group: String, from caller: TreeCaller,
    _ done: @escaping @Sendable (Result<String, Refusal>) -> Void
  ) {
    look(at: group) { [self] view in
      guard let view, !view.members.isEmpty else {
        return done(.failure(Refusal(.notFound, "\(group) has no members")))
      }
      let sending = Mutex(Sending(missing: Set(view.members.map(\.name))))
      let client = backplane.makeClient(user: caller.principal.user)
      let finish: @Sendable () -> Void = { [backplane] in
        let report: Sending? = sending.withLock { sending in
          defer { sending.isOver = true }
          return sending.isOver ? nil : sending
        }
        guard let report else { return }
        backplane.retire(client)
        guard !report.lines.isEmpty else {
          return done(.failure(Refusal(.userTimeout, "no member answers")))
        }
        let silent = report.missing.map { ($0, "no answer") }
        let lines = (report.lines.map { ($0.key, $0.value) } + silent).sorted { $0.0 < $1.0 }
        done(.success(lines.map { "\($0.0): \($0.1)\n" }.joined()))
      }
      backplane.send(
        GroupMessage(sender: "\(caller.principal)", text: text).message, from: client,
        to: EntityID(groupNamed: group),
        options: SendOptions(timeLimit: Self.replyLimit, collectsResponses: true)
      ) { response in
        guard response.server != .none else { return finish() }
        guard response.code.isOK,
          let answer = try? GroupMessage.Answer(parsing: response.message)
        else { return }
        let isLast = sending.withLock { sending in
          sending.missing.remove(answer.member)
          sending.lines[answer.member] = Self.words(answer)
          return sending.missing.isEmpty
        }
        if isLast { finish() }
      }
    }
  }

  /// In one line.
  private static func words(_ answer: GroupMessage.Answer) -> String {
    let words =
      answer.words.isEmpty
      ? "\(answer.outcome.isOK ? "ok" : "\(answer.outcome)")"
      : answer.words
    return String(words.map { $0.isNewline ? " " : $0 })
  }

  /// Sends a message once: the first answer ends it, and who missed it has missed it.
  func sendDatagram(_ text: String, to group: String, from caller: TreeCaller) {
    let client = backplane.makeClient(user: caller.principal.user)
    backplane.send(
      GroupMessage(sender: "\(caller.principal)", text: text).message, from: client,
      to: EntityID(groupNamed: group),
      options: SendOptions(timeLimit: Self.datagramLimit)
    ) { [backplane] _ in backplane.retire(client) }
  }

  private static let datagramLimit = TimeSpan.milliseconds(500)
}

/// `send` and `datagram`: one write is one message.
struct SendingFile: TreeFile {
  let server: GroupServer
  let group: String
  let access: TreeAccess
  /// What the members say can be read; else nobody waits for them.
  let hasReplies: Bool

  var attributes: UIOAttributes {
    hasReplies
      ? [.readable, .writeable, .stream, .variableBlock] : [.writeable, .stream, .variableBlock]
  }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    guard opening.caller.principal.host == server.backplane.host else {
      return opened(.failure(Refusal(.noPermission, "every host sends by its own /v/group")))
    }
    opened(.success(SendingSession(self)))
  }
}

private final class SendingSession: TreeSession {
  private let file: SendingFile
  /// What is left to read, once somebody began to.
  private let rest = Mutex<ArraySlice<UInt8>?>(nil)

  init(_ file: SendingFile) { self.file = file }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    let key = GroupReports.Key(group: file.group, principal: call.caller.principal)
    let text = file.server.reports.withLock { $0[key] }
    let octets = rest.withLock { rest in
      let left = rest ?? Array(text.utf8)[...]
      rest = left.dropFirst(count)
      return Array(left.prefix(count))
    }
    call.answer(data: octets)
  }

  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    let message: String
    switch Self.message(data) {
    case .success(let text): message = text
    case .failure(let refusal): return note(.failure(refusal), data.count, call)
    }
    guard file.hasReplies else {
      file.server.sendDatagram(message, to: file.group, from: call.caller)
      call.answer(count: data.count)
      return
    }
    file.server.send(message, to: file.group, from: call.caller) { [self] result in
      note(result, data.count, call)
    }
  }

  /// Keeps what there is to read, then answers the write.
  private func note(_ result: Result<String, Refusal>, _ count: Int, _ call: TreeCall) {
    let key = GroupReports.Key(group: file.group, principal: call.caller.principal)
    rest.withLock { $0 = nil }
    switch result {
    case .success(let text):
      file.server.reports.withLock { $0[key] = text }
      call.answer(count: count)
    case .failure(let refusal):
      let words = refusal.words.isEmpty ? "\(refusal.code)" : refusal.words
      file.server.reports.withLock { $0[key] = "refused: \(words)\n" }
      call.refuse(refusal)
    }
  }

  private static func message(_ data: [UInt8]) -> Result<String, Refusal> {
    let octets = data.last == UInt8(ascii: "\n") ? data.dropLast() : data[...]
    guard !octets.isEmpty else {
      return .failure(Refusal(.badArguments, "a message has at least one octet"))
    }
    guard octets.count <= GroupMessage.textBytesMax else {
      return .failure(
        Refusal(.tooLarge, "a message has at most \(GroupMessage.textBytesMax) octets"))
    }
    guard let text = String(validating: octets, as: UTF8.self),
      !text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\t" })
    else { return .failure(Refusal(.badArguments, "a message is one line of text")) }
    return .success(text)
  }
}
