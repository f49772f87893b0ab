package import VProtocol

/// The locks of all owners on one object, and the lock that Linux must hold for them together.
///
/// One descriptor carries all of them, so Linux holds the strongest kind on each octet:
///
/// ```
/// octet      0         10        20        30
/// ann        [shared             ]
/// bob                  [shared             ]
/// eve                                      [exclusive
/// Linux      [shared                       ][exclusive
/// segments   | 1 shared| 2       | 1       | exclusive
/// ```
/// A segment ends where a range of any owner begins or ends. The cost of a change grows with the
/// ranges that it touches, not with the owners of the object.
package struct LockUnion<Owner: Hashable & Sendable>: Sendable {
  /// A change of Linux's lock.
  package struct Step: Equatable, Sendable {
    package var kind: LockKind
    package var range: ClosedRange<UInt64>

    package init(kind: LockKind, range: ClosedRange<UInt64>) {
      self.kind = kind
      self.range = range
    }
  }

  /// All octets from `first` on, up to the next segment; nothing is locked before the first one.
  private struct Segment: Sendable {
    var first: UInt64
    /// Ranges that begin here or end just before.
    var edges = 0
    var shared: Int
    var isExclusive: Bool

    var strongest: LockKind { isExclusive ? .exclusive : shared > 0 ? .shared : .none }
  }

  package private(set) var owners: [Owner: RangeLocks] = [:]
  private var segments: [Segment] = []
  private var exclusiveCount = 0

  package init() {}

  package var isEmpty: Bool { owners.isEmpty }

  /// Whether there is an exclusive lock.
  package var hasExclusive: Bool { exclusiveCount > 0 }

  /// Everything that Linux holds.
  package var held: [Step] {
    var held: [Step] = []
    for piece in pieces(of: 0 ... .max) where piece.kind != .none {
      Self.append(piece.kind, piece.range, to: &held)
    }
    return held
  }

  /// Whether there is no lock on a range.
  package func isFree(_ range: ClosedRange<UInt64>) -> Bool {
    parts(of: range).allSatisfy { $0.segment.strongest == .none }
  }

  /// What Linux holds on an octet.
  package func strongest(at octet: UInt64) -> LockKind {
    let index = firstSegment(after: octet)
    return index == 0 ? .none : segments[index - 1].strongest
  }

  /// Whether a lock of another owner conflicts.
  package func isHeld(against kind: LockKind, _ range: ClosedRange<UInt64>, of owner: Owner) -> Bool
  {
    guard kind != .none else { return false }
    let own = owners[owner] ?? RangeLocks()
    for part in parts(of: range) where part.segment.strongest.conflicts(with: kind) {
      let held = own.kind(at: part.range.lowerBound)
      if held == .none { return true }
      if held == .shared && part.segment.shared > 1 { return true }
    }
    return false
  }

  /// The ranges of an owner after a change.
  package func ranges(
    of owner: Owner, setting kind: LockKind, _ range: ClosedRange<UInt64>
  ) -> RangeLocks {
    var ranges = owners[owner] ?? RangeLocks()
    ranges.set(kind, range)
    return ranges
  }

  /// The step for Linux that comes before an owner gets a lock without conflicts here; nil if Linux
  /// holds it already.
  ///
  /// It is one step, which Linux does or refuses as a whole.
  package func step(toward kind: LockKind, _ range: ClosedRange<UInt64>) -> Step? {
    precondition(kind != .none, "what is given up is told of afterwards")
    let isThere =
      strongest(at: range.lowerBound) == kind
      && parts(of: range).allSatisfy { $0.segment.strongest == kind }
    return isThere ? nil : Step(kind: kind, range: range)
  }

  /// Replaces an owner's ranges; returns the steps for Linux on octets that need less now.
  ///
  /// Those steps only remove locks, so they cannot conflict.
  package mutating func change(_ owner: Owner, to ranges: RangeLocks) -> [Step] {
    let old = (owners[owner] ?? RangeLocks()).spans
    owners[owner] = ranges.isEmpty ? nil : ranges
    let new = ranges.spans
    let front = zip(old, new).prefix { $0 == $1 }.count
    let back = zip(old.dropFirst(front).reversed(), new.dropFirst(front).reversed())
      .prefix { $0 == $1 }.count
    let gone = old[front..<(old.count - back)]
    for span in gone { add(-1, span) }
    for span in new[front..<(new.count - back)] { add(1, span) }
    return steps(downFrom: gone)
  }

  private func steps(downFrom gone: ArraySlice<RangeLocks.Span>) -> [Step] {
    var steps: [Step] = []
    for span in gone {
      // Other owners had at most shared locks beside it.
      for piece in pieces(of: span.range) {
        guard piece.kind != span.kind, piece.kind != .exclusive else { continue }
        Self.append(piece.kind, piece.range, to: &steps)
      }
    }
    return steps
  }

  /// Neighbours of one kind are one step.
  private static func append(
    _ kind: LockKind, _ range: ClosedRange<UInt64>, to steps: inout [Step]
  ) {
    guard let last = steps.last, last.kind == kind,
      last.range.upperBound &+ 1 == range.lowerBound
    else { return steps.append(Step(kind: kind, range: range)) }
    steps[steps.count - 1].range = last.range.lowerBound...range.upperBound
  }
}

// MARK: - Segments

extension LockUnion {
  private mutating func add(_ count: Int, _ span: RangeLocks.Span) {
    if span.kind == .exclusive { exclusiveCount += count }
    let first = edge(at: span.range.lowerBound, count)
    var end = segments.count
    if span.range.upperBound < .max { end = edge(at: span.range.upperBound + 1, count) }
    for index in first..<end {
      if span.kind == .exclusive {
        precondition(segments[index].isExclusive == (count < 0), "an exclusive lock is alone")
        segments[index].isExclusive = count > 0
      } else {
        segments[index].shared += count
      }
    }
    if span.range.upperBound < .max { removeEdge(end) }
    removeEdge(first)
  }

  /// The segment that begins at an octet; `count` is added to its edges.
  private mutating func edge(at octet: UInt64, _ count: Int) -> Int {
    let next = firstSegment(after: octet)
    if next > 0 && segments[next - 1].first == octet {
      segments[next - 1].edges += count
      return next - 1
    }
    precondition(count > 0, "a range goes away with the edges that it came with")
    let before = next > 0 ? segments[next - 1] : nil
    segments.insert(
      Segment(
        first: octet, edges: count, shared: before?.shared ?? 0,
        isExclusive: before?.isExclusive ?? false), at: next)
    return next
  }

  /// Joins a segment to the one before if no range begins or ends there any more.
  private mutating func removeEdge(_ index: Int) {
    if segments[index].edges == 0 { segments.remove(at: index) }
  }

  /// The index of the first segment that begins behind an octet.
  private func firstSegment(after octet: UInt64) -> Int {
    var (low, high) = (0, segments.count)
    while low < high {
      let middle = (low + high) / 2
      if segments[middle].first <= octet { low = middle + 1 } else { high = middle }
    }
    return low
  }

  private func last(of index: Int) -> UInt64 {
    index + 1 < segments.count ? segments[index + 1].first - 1 : .max
  }

  /// The segments that overlap a range, each cut to it.
  private func parts(
    of range: ClosedRange<UInt64>
  ) -> some Sequence<(segment: Segment, range: ClosedRange<UInt64>)> {
    segments.indices[max(0, firstSegment(after: range.lowerBound) - 1)...].lazy
      .prefix { segments[$0].first <= range.upperBound }
      .map { (segments[$0], segments[$0].first...last(of: $0)) }
      .filter { $0.1.overlaps(range) }
      .map { ($0.0, $0.1.clamped(to: range)) }
  }

  /// The pieces of a range, each with the strongest kind that is held there.
  private func pieces(
    of range: ClosedRange<UInt64>
  ) -> [(kind: LockKind, range: ClosedRange<UInt64>)] {
    var pieces: [(kind: LockKind, range: ClosedRange<UInt64>)] = []
    if firstSegment(after: range.lowerBound) == 0 {
      let end = segments.first.map { $0.first - 1 } ?? .max
      pieces.append((.none, range.lowerBound...min(end, range.upperBound)))
    }
    for part in parts(of: range) { pieces.append((part.segment.strongest, part.range)) }
    return pieces
  }
}
