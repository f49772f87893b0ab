/// How urgent a message is: four levels of four grades each (RFC 1045 3.3).
///
/// It orders what waits in a queue, and nothing else: where nothing waits, all are served alike.
public struct Priority: Hashable, Comparable, Sendable {
  /// As in word 3 of a packet: two bits of level, then two of grade.
  public let bits: UInt8

  /// From the lowest four bits.
  public init(bits: UInt8) { self.bits = bits & 15 }

  public static let urgent = Priority(bits: 0b1100)
  public static let important = Priority(bits: 0b1000)
  public static let normal = Priority(bits: 0b0000)
  public static let background = Priority(bits: 0b0100)
  /// The last of all: what only uses time that nobody else wants.
  public static let guest = Priority(bits: 0b0111)

  /// How many ranks there are.
  public static let ranks = 16

  /// 0 is served first, 15 last: the levels urgent, important, normal, background, each with its
  /// grades downward.
  ///
  /// The table of RFC 1045, which contradicts its text.
  public var rank: Int { Self.order[Int(bits >> 2)] * 4 + Int(bits & 3) }

  /// By the two bits of the level.
  private static let order: InlineArray<4, Int> = [2, 3, 1, 0]

  /// Whether it is less urgent.
  public static func < (one: Priority, other: Priority) -> Bool { one.rank > other.rank }

  /// What it counts for on another host: the background there, in whose four grades the levels keep
  /// their order.
  ///
  /// So no host can put its users before those of the host that serves them.
  public var onOtherHost: Priority {
    let grade =
      switch rank / 4 {
      case 0, 1: 0
      case 2: 1
      default: self == .guest ? 3 : 2
      }
    return Priority(bits: Self.background.bits | UInt8(grade))
  }
}
