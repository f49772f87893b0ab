import VProtocol
import VRuntime

/// What a day has asked for, and what became of it: every check of the storm is made here.
final class Ledger {
  /// How a request is asked for, which says how often it may be executed.
  enum Kind: CaseIterable {
    /// A procedure that executes each request once.
    case worker
    /// The same, of a server that moves from host to host.
    case mover
    /// A procedure without records: every request may be repeated.
    case reader
    /// A message process: one request at a time.
    case process
    /// A server that forwards to another one, of its own host or a third.
    case forwarder
    /// A group, of which the first member to answer is heard.
    case group
    /// A group, of which every member is heard.
    case members
  }

  enum End: Equatable {
    case open
    case code(ReplyCode)
    /// The client ended first, so nobody is told.
    case abandoned
  }

  struct Transaction {
    var kind: Kind
    var client: EntityID
    /// Who it is for: a client that has moved may have become a user of the host where it is.
    var users: [String]
    var bytes: Int
    var answerBytes: Int
    var end = End.open
    /// By server: a group has several.
    var executions: [EntityID: Int] = [:]
    var heard: [EntityID] = []
    /// The client's host has slept meanwhile.
    var hasSlept = false
  }

  private(set) var transactions: [Transaction] = []
  private(set) var open = 0
  private(set) var abandoned = 0
  /// How many transactions ended with each code.
  private(set) var codes: [UInt32: Int] = [:]
  private(set) var octets = 0
  private(set) var executions = 0
  private(set) var violations: [String] = []
  /// Changes with every end of a transaction and its time: equal runs have equal ones.
  private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325

  func start(
    _ kind: Kind, of client: EntityID, _ users: [String], bytes: Int, answerBytes: Int
  ) -> Int {
    transactions.append(
      Transaction(
        kind: kind, client: client, users: users, bytes: bytes, answerBytes: answerBytes))
    open += 1
    return transactions.count - 1
  }

  /// The request of a transaction, as it must come to every server.
  func request(_ number: Int) -> Message {
    let transaction = transactions[number]
    var mcb = MessageControlBlock(code: 0x7701)
    mcb[3] = UInt32(number)
    mcb[4] = UInt32(transaction.answerBytes)
    return Message(mcb, segment: Pattern.bytes(of: number, isAnswer: false, transaction.bytes))
  }

  private func answer(_ number: Int) -> Message {
    let transaction = transactions[number]
    var mcb = MessageControlBlock()
    mcb[3] = UInt32(number)
    return Message(
      mcb, segment: Pattern.bytes(of: number, isAnswer: true, transaction.answerBytes))
  }

  /// A server executes a request; returns its answer.
  func execute(_ request: Request) -> Message {
    let number = number(of: request)
    let kind = transactions[number].kind
    executions += 1
    transactions[number].executions[request.server, default: 0] += 1
    let all = transactions[number].executions
    switch kind {
    case .reader: break
    case .group, .members:
      // Members keep no record for as long as a clock can stand still, and nothing is begun with
      // them: a request that its client's host sent before it slept may be repeated after that.
      if all[request.server]! > 1, !transactions[number].hasSlept {
        violate(number, "executed twice by \(request.server)")
      }
    case .worker, .mover, .process, .forwarder:
      if all.values.reduce(0, +) > 1 { violate(number, "executed \(all)") }
    }
    if case .code(let code) = transactions[number].end, Self.promisesNothingDone(code) {
      violate(number, "executed after it had ended with \(code)")
    }
    return answer(number)
  }

  /// The number of a request, which a server has just received.
  func number(of request: Request) -> Int {
    let number = Int(request.message.mcb[3])
    guard number < transactions.count else {
      violations.append("a request that was never sent: \(number)")
      return 0
    }
    let transaction = transactions[number]
    let segment = request.message.segment
    if !Pattern.holds(segment, number, isAnswer: false, transaction.bytes) {
      violate(number, "wrong octets came to \(request.server), \(segment.count) of them")
    }
    if request.client != transaction.client { violate(number, "came from another client") }
    if transaction.kind != .reader, !transaction.users.contains("\(request.principal!)") {
      violate(number, "came as \(request.principal!)")
    }
    return number
  }

  /// A response of a group's member, of which there may be more.
  func hear(_ number: Int, _ response: Response) {
    checkAnswer(number, response)
    if transactions[number].heard.contains(response.server) {
      violate(number, "answered twice by \(response.server)")
    }
    transactions[number].heard.append(response.server)
  }

  /// The end of a transaction, as its client was told.
  func end(_ number: Int, _ response: Response, at now: Time) {
    guard transactions[number].end == .open else {
      return violate(number, "ended again, after \(transactions[number].end)")
    }
    transactions[number].end = .code(response.code)
    open -= 1
    codes[response.code.rawValue, default: 0] += 1
    for word in [UInt64(number), UInt64(response.code.rawValue), UInt64(now.nanoseconds)] {
      digest = (digest ^ word) &* 0x100_0000_01B3
    }
    if response.code.isOK { return checkAnswer(number, response) }
    if Self.promisesNothingDone(response.code), !transactions[number].executions.isEmpty {
      violate(number, "\(response.code), and it was executed")
    }
  }

  func noteUser(_ user: String, of number: Int) { transactions[number].users.append(user) }
  func noteSleep(_ number: Int) { transactions[number].hasSlept = true }

  /// The client has ended, or its host.
  func abandon(_ number: Int) {
    guard transactions[number].end == .open else { return }
    transactions[number].end = .abandoned
    open -= 1
    abandoned += 1
  }

  /// The day is over, and nothing may be under way any more.
  func close() {
    for number in transactions.indices where transactions[number].end == .open {
      violate(number, "has not ended: \(transactions[number].kind)")
    }
  }

  func note(_ violation: String) { violations.append(violation) }

  private func checkAnswer(_ number: Int, _ response: Response) {
    let transaction = transactions[number]
    let (mcb, segment) = (response.message.mcb, response.message.segment)
    if mcb[3] != UInt32(number)
      || !Pattern.holds(segment, number, isAnswer: true, transaction.answerBytes)
    {
      violate(number, "wrong answer: of \(mcb[3]), \(segment.count) octets")
    }
    if transaction.executions[response.server] == nil {
      violate(number, "answered by \(response.server), which did not execute it")
    }
    octets += transaction.bytes + segment.count
  }

  private func violate(_ number: Int, _ what: String) {
    violations.append("transaction \(number) (\(transactions[number].kind)): \(what)")
  }

  /// Codes by which a kernel says that no server has seen the request.
  private static func promisesNothingDone(_ code: ReplyCode) -> Bool {
    code == .nonexistentEntity || code == .busy
  }
}

/// The octets of a request or an answer, which follow from its number alone.
enum Pattern {
  static func bytes(of number: Int, isAnswer: Bool, _ count: Int) -> [UInt8] {
    var state = seed(number, isAnswer)
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
      for index in 0..<count {
        if index % 8 == 0 { state = next(state) }
        buffer[index] = UInt8(truncatingIfNeeded: state >> UInt64(index % 8 * 8))
      }
      used = count
    }
  }

  static func holds(_ bytes: [UInt8], _ number: Int, isAnswer: Bool, _ count: Int) -> Bool {
    guard bytes.count == count else { return false }
    var state = seed(number, isAnswer)
    return bytes.withUnsafeBufferPointer { buffer in
      for index in 0..<count {
        if index % 8 == 0 { state = next(state) }
        guard buffer[index] == UInt8(truncatingIfNeeded: state >> UInt64(index % 8 * 8)) else {
          return false
        }
      }
      return true
    }
  }

  private static func seed(_ number: Int, _ isAnswer: Bool) -> UInt64 {
    UInt64(number) &* 2 &+ (isAnswer ? 1 : 0) &+ 0x9E37_79B9_7F4A_7C15
  }
  private static func next(_ state: UInt64) -> UInt64 {
    (state ^ state >> 29) &* 0xBF58_476D_1CE4_E5B9 &+ 0x94D0_49BB_1331_11EB
  }
}
