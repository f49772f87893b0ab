/// Decides which workers may empty the node's network sockets, and for how long.
///
/// As a rule several workers may at once. While most packets are refused only one may: the others
/// serve /dev/fuse, attached processes and timers, whatever arrives from the network.
public struct SocketTurns: Sendable {
  /// Packets after which a worker looks for other work: about a millisecond.
  public static let packetsMax = 256
  /// A turn with fewer packets is no flood.
  public static let floodMin = 32

  private var workers = 0
  public private(set) var isFlooded = false
  /// Sockets with packets for a worker that was turned away.
  private var missed: Set<Int32> = []

  public init() {}

  /// Whether a worker may empty `socket` now; then `end` must follow.
  public mutating func begin(_ socket: Int32) -> Bool {
    guard !isFlooded || workers == 0 else {
      missed.insert(socket)
      return false
    }
    workers += 1
    return true
  }

  /// Ends a turn; returns the sockets that may have more packets, to be watched again.
  public mutating func end(
    _ socket: Int32, packets: Int, refused: Int, isEmptied: Bool
  ) -> Set<Int32> {
    precondition(workers > 0, "a turn ends once")
    workers -= 1
    isFlooded = packets >= Self.floodMin && refused * 2 > packets
    if !isEmptied { missed.insert(socket) }
    defer { missed = [] }
    return missed
  }
}
