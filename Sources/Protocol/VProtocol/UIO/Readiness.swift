/// What can be done with an instance without waiting for others.
public struct Readiness: OptionSet, Hashable, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A read is answered at once, with octets or with a refusal.
  public static let readable = Readiness(rawValue: 1)
  /// A write of as much as a message holds is answered at once.
  public static let writeable = Readiness(rawValue: 2)
  /// A read is answered with no octets: whoever wrote is gone.
  public static let ended = Readiness(rawValue: 4)
  /// A write is refused with `brokenPipe`: whoever read is gone.
  public static let broken = Readiness(rawValue: 8)

  /// Without what says something of reading, or of writing, where that is not possible.
  public func limited(to able: Readiness) -> Readiness {
    var limited = self
    if !able.contains(.readable) { limited.subtract([.readable, .ended]) }
    if !able.contains(.writeable) { limited.subtract([.writeable, .broken]) }
    return limited
  }

  /// What is told to everybody, whatever they asked for.
  private static let ends: Readiness = [.ended, .broken]

  /// Whether there is something of what is wanted, or an end.
  public func meets(_ wanted: Readiness) -> Bool { !isDisjoint(with: wanted.union(.ends)) }
}

/// Tells what can be done with an instance without waiting for others, now or as soon as something
/// that is wanted can.
///
/// Nothing is read or written by it.
public struct AwaitInstance: Operation {
  public static let code: UInt32 = 0x00110D
  public static let isIdempotent = true

  public var instance: InstanceID
  /// What a waiting request waits for; an end is one more reason to answer it.
  public var wanted: Readiness
  /// Whether it waits, or is answered at once.
  public var isWaiting: Bool

  public init(_ instance: InstanceID, for wanted: Readiness = [], isWaiting: Bool) {
    self.instance = instance
    self.wanted = wanted
    self.isWaiting = isWaiting
  }
  public init(parsing message: Message) throws(WireError) {
    instance = InstanceID(rawValue: message.mcb.pair(1))
    wanted = Readiness(rawValue: message.mcb[3])
    isWaiting = message.mcb[4] & 1 != 0
  }
  public var message: Message {
    Message(
      Self.request.pair(1, instance.rawValue).word(3, wanted.rawValue).word(4, isWaiting ? 1 : 0))
  }

  public struct Answer: OperationAnswer {
    public var ready: Readiness

    public init(ready: Readiness) { self.ready = ready }
    public init(parsing message: Message) throws(WireError) {
      ready = Readiness(rawValue: message.mcb[1])
    }
    public var message: Message { Message(Self.answer.word(1, ready.rawValue)) }
  }
}
