/// One operation of a protocol as a value: its request and its answer.
///
/// The codes, the fields, the use of the segment and whether it may be repeated are declared here,
/// once, for both sides.
public protocol Operation: Equatable, Sendable {
  /// `Done`, unless the answer has fields.
  associatedtype Answer: OperationAnswer = Done
  /// 24 bits: interface 16, procedure 8 (RFC 1045 3.4).
  static var code: UInt32 { get }
  /// Whether doing it twice is the same as doing it once, as seen by the caller; false by default.
  static var isIdempotent: Bool { get }
  /// The request; inverse of `init(parsing:)`.
  var message: Message { get }
  init(parsing message: Message) throws(WireError)
}

/// The answer to an operation that was done (reply code OK).
public protocol OperationAnswer: Equatable, Sendable {
  var message: Message { get }
  init(parsing message: Message) throws(WireError)
}

/// An answer without fields: the operation was done.
public struct Done: OperationAnswer {
  public init() {}
  public init(parsing message: Message) throws(WireError) {}
  public var message: Message { Message(reply: .ok) }
}

/// An answer that is nothing but octets.
public struct Octets: OperationAnswer {
  public var data: [UInt8]
  public init(data: [UInt8]) { self.data = data }
  public init(parsing message: Message) throws(WireError) { data = message.segment }
  public var message: Message { Message(segment: data) }
}

extension OperationAnswer {
  /// An empty answer: reply code OK.
  static var answer: MessageControlBlock { MessageControlBlock() }
}

extension Operation {
  public static var isIdempotent: Bool { false }

  /// An empty request of this operation.
  static var request: MessageControlBlock {
    var mcb = MessageControlBlock(code: Self.code)
    mcb.flags = .publicInterface
    return mcb
  }
}
