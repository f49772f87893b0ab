/// The last octets of a stream, and where in it they are.
struct KeptOctets: Sendable {
  private var octets: [UInt8] = []
  /// The position of the first of `octets`.
  private(set) var start: UInt64

  init(from start: UInt64 = 0) { self.start = start }

  var end: UInt64 { start + UInt64(octets.count) }

  /// Adds octets; of those before `limit` all that are more than `max` may be dropped.
  mutating func append(
    _ more: some Collection<UInt8>, max: Int, droppingUpTo limit: UInt64 = .max
  ) {
    octets.append(contentsOf: more)
    // In strides, since what is left moves.
    guard octets.count >= max + max / 4 else { return }
    let count = min(octets.count - max, Int(clamping: limit) - Int(clamping: start))
    guard count > 0 else { return }
    octets.removeFirst(count)
    start += UInt64(count)
  }

  /// Octets that there are from a position on; `position` tells where the first of them is.
  func read(
    from position: UInt64, count: Int
  ) -> (octets: [UInt8], position: UInt64) {
    let position = max(position, start)
    let first = Int(position - start)
    return (Array(octets[first..<min(octets.count, first + count)]), position)
  }
}
