import Synchronization
import VObjects
import VProtocol
import VRuntime

extension GroupServer {
  private struct Sending: Sendable {
    /// Members that have not answered.
    var missing: Set<Name>
    var lines: [Name: String] = [:]
    var isOver = false
  }

  /// How long members may take to answer, when their group server has just been heard.
  private static let replyLimit = TimeSpan.seconds(2)

  /// Sends a message to all members by one group Send; `done` gets a line for each.
  func send(
    _ text: String, to group: Name, from caller: Caller,
    _ done: @escaping @Sendable (Result<[UInt8], Refusal>) -> Void
  ) {
    let principal = caller.principal
    guard sendings.withLock({ $0.take(principal) }) else {
      return done(.failure(Self.tooMany(principal)))
    }
    lookThoroughly(at: group) { [self] look in
      send(text, to: group, look, from: principal) { [self] result in
        sendings.withLock { $0.give(principal) }
        done(result)
      }
    }
  }

  private func send(
    _ text: String, to group: Name, _ look: GroupLook, from principal: Principal,
    _ done: @escaping @Sendable (Result<[UInt8], Refusal>) -> Void
  ) {
    guard let view = look.view, !view.members.isEmpty else {
      guard look.silent.isEmpty else {
        let hosts = look.silent.joined(separator: ", ")
        return done(
          .failure(
            Refusal(.retransmissionTimeout, "no member of \(group) is heard, nor \(hosts)")))
      }
      return done(.failure(Refusal(.notFound, "\(group) has no members")))
    }
    guard !view.isDisputed else {
      return done(.failure(Refusal(.busy, "another group named \(group) is just ending")))
    }
    let sending = Mutex(Sending(missing: Set(view.members.map(\.name))))
    let client = backplane.makeClient(ClientUser(principal))
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
      // The members of a host that did not answer are unknown.
      let hosts = look.silent.map { Name($0) }
      done(.success(GroupReports.text(report.lines, silent: report.missing.union(hosts))))
    }
    backplane.send(
      GroupMessage(sender: GroupUser.sender(principal), text: text).message,
      PartySend(.groupServer, to: .groupMember), from: client,
      to: EntityID(groupNamed: group),
      options: SendOptions(timeLimit: Self.replyLimit, collectsResponses: true)
    ) { response in
      guard response.server != .none else { return finish() }
      guard response.code.isOK,
        let answer = try? GroupMessage.Answer(parsing: response.message),
        MemberName(answer.member, on: "").refusal == nil
      else { return }
      let isLast = sending.withLock { sending in
        sending.missing.remove(answer.member)
        sending.lines[answer.member] = GroupReports.words(answer)
        return sending.missing.isEmpty
      }
      if isLast { finish() }
    }
  }

  private static func tooMany(_ principal: Principal) -> Refusal {
    Refusal(.noServerResources, "\(principal) sends too much at once")
  }

  /// Sends a message once, as a datagram: a lost one is not repeated, and nobody answers.
  ///
  /// Its client stays for a while, because the members' kernels ask for its principal.
  func sendDatagram(_ text: String, to group: Name, from caller: Caller) -> Refusal? {
    let principal = caller.principal
    guard sendings.withLock({ $0.take(principal) }) else { return Self.tooMany(principal) }
    let client = backplane.makeClient(ClientUser(principal))
    backplane.sendDatagram(
      GroupMessage(sender: GroupUser.sender(principal), text: text).message, from: client,
      to: EntityID(groupNamed: group))
    backplane.after(Self.datagramKept) { [self] in
      backplane.retire(client)
      sendings.withLock { $0.give(principal) }
    }
    return nil
  }

  private static let datagramKept = TimeSpan.seconds(1)
}

/// `send` and `datagram`: one write is one message.
struct SendingFile: TreeFile {
  let server: GroupServer
  let group: Name
  let access: TreeAccess
  /// Whether the answers of the members can be read; else they are not waited for.
  let hasReplies: Bool

  var attributes: UIOAttributes {
    hasReplies
      ? [.readable, .writeable, .stream, .variableBlock] : [.writeable, .stream, .variableBlock]
  }
  var size: UInt64 { 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    guard server.isOfThisHost(opening.caller) else {
      return opened(.failure(Refusal(.noPermission, "every host sends by its own /v/group")))
    }
    opened(.success(SendingSession(self)))
  }
}

private final class SendingSession: TreeSession {
  private let file: SendingFile
  /// What is left to read, once reading has begun.
  private let rest = Mutex<ArraySlice<UInt8>?>(nil)

  init(_ file: SendingFile) { self.file = file }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    let key = GroupReports.Key(group: file.group, principal: call.caller.principal)
    let text = file.server.reports.withLock { $0[key] }
    let octets = rest.withLock { rest in
      let left = rest ?? text[...]
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
      let refusal = file.server.sendDatagram(message, to: file.group, from: call.caller)
      if let refusal { call.refuse(refusal) } else { call.answer(count: data.count) }
      return
    }
    file.server.send(message, to: file.group, from: call.caller) { [self] result in
      note(result, data.count, call)
    }
  }

  /// Stores what can be read, then answers the write.
  private func note(_ result: Result<[UInt8], Refusal>, _ count: Int, _ call: TreeCall) {
    let key = GroupReports.Key(group: file.group, principal: call.caller.principal)
    rest.withLock { $0 = nil }
    switch result {
    case .success(let text):
      file.server.reports.withLock { $0[key] = text }
      call.answer(count: count)
    case .failure(let refusal):
      let words = refusal.words.isEmpty ? "\(refusal.code)" : refusal.words
      file.server.reports.withLock { $0[key] = Array("refused: \(words)\n".utf8) }
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
    guard let text = String(validating: octets, as: UTF8.self), GroupMessage.isLine(text) else {
      return .failure(Refusal(.badArguments, "a message is one line of text"))
    }
    return .success(text)
  }
}
