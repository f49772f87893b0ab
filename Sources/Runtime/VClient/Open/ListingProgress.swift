internal import VProtocol

/// How far a listing has come, to notice a manager that leads it round in a circle: a value of
/// constant size.
///
/// Positions are the manager's own numbers, in any order. A listing is in a circle when it comes
/// again to a position where it has been; one such position is kept, and replaced after twice as
/// many blocks as the one before, so that it is in the circle sooner or later (Brent, 1980).
struct ListingProgress: Sendable {
  /// The positions to which the last block led.
  private var ends: [UInt64] = []
  private var kept: UInt64 = 0
  private var blocks = 0
  private var blocksMax = 1

  init() {}

  /// Notes the block that was read from `position`; false if the listing does not advance.
  ///
  /// A reader may go on from any record of the last block. Wherever else it reads, it has gone
  /// there by itself, and a new listing begins.
  mutating func note(_ records: [Descriptor], from position: UInt64) -> Bool {
    if !ends.contains(position) {
      (kept, blocks, blocksMax) = (position, 0, 1)
    } else if position == kept {
      return false
    } else {
      blocks += 1
      if blocks == blocksMax { (kept, blocks, blocksMax) = (position, 0, 2 * blocksMax) }
    }
    ends = records.map(\.nextPosition)
    return ends.last.map { $0 != position && $0 != kept } ?? true
  }
}
