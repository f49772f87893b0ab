/// The locks of one owner on one object: ranges in order; neighbours of one kind are merged.
public struct RangeLocks: Equatable, Sendable {
  public struct Span: Equatable, Sendable {
    public var range: ClosedRange<UInt64>
    public var kind: LockKind

    public init(range: ClosedRange<UInt64>, kind: LockKind) {
      self.range = range
      self.kind = kind
    }
  }

  public private(set) var spans: [Span] = []

  public init() {}

  public var isEmpty: Bool { spans.isEmpty }

  /// Sets the lock on every octet of `range`, replacing what was there.
  public mutating func set(_ kind: LockKind, _ range: ClosedRange<UInt64>) {
    let (first, last) = (range.lowerBound, range.upperBound)
    // Neighbours of one kind are merged.
    let grown = (first - min(first, 1))...(last + min(UInt64.max - last, 1))
    var result: [Span] = []
    var new = Span(range: range, kind: kind)
    for span in spans {
      let (spanFirst, spanLast) = (span.range.lowerBound, span.range.upperBound)
      if span.kind == kind && span.range.overlaps(grown) {
        new.range = min(spanFirst, new.range.lowerBound)...max(spanLast, new.range.upperBound)
        continue
      }
      guard span.range.overlaps(range) else {
        result.append(span)
        continue
      }
      if spanFirst < first { result.append(Span(range: spanFirst...(first - 1), kind: span.kind)) }
      if spanLast > last { result.append(Span(range: (last + 1)...spanLast, kind: span.kind)) }
    }
    if kind != .none { result.append(new) }
    spans = result.sorted { $0.range.lowerBound < $1.range.lowerBound }
  }

  /// The first range here that conflicts with such a lock of another owner.
  public func conflict(with kind: LockKind, _ range: ClosedRange<UInt64>) -> Span? {
    spans[firstSpan(endingAt: range.lowerBound)...]
      .prefix { $0.range.lowerBound <= range.upperBound }
      .first { $0.kind.conflicts(with: kind) }
  }

  /// The owner's lock on an octet.
  public func kind(at octet: UInt64) -> LockKind {
    let index = firstSpan(endingAt: octet)
    return index < spans.count && spans[index].range.contains(octet) ? spans[index].kind : .none
  }

  /// The index of the first span that ends at an octet or behind it.
  private func firstSpan(endingAt octet: UInt64) -> Int {
    var (low, high) = (0, spans.count)
    while low < high {
      let middle = (low + high) / 2
      if spans[middle].range.upperBound < octet { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// One owner's ranges on one object; beyond it a lock is refused.
  public static let spansMax = 4096
}
