public import VProtocol

/// The records of a context as they are read.
public enum Listing {
  /// As many whole records as fit into `count` octets, from the one at `position` on; each has the
  /// position of the next.
  ///
  /// Refused with `badByteCount` if not even one fits: no octets would mean the end.
  public static func block(
    of records: [Descriptor], from position: UInt64, _ count: Int
  ) throws(Refusal) -> [UInt8] {
    var filling = Filling(count)
    for (index, record) in records.enumerated().dropFirst(Int(clamping: position)) {
      guard try filling.add(record, nextPosition: UInt64(index + 1)) else { break }
    }
    return filling.octets
  }

  /// A block that is being filled.
  public struct Filling {
    private var writer: SegmentWriter
    private let count: Int

    /// Room for `count` octets, at most those of a segment.
    public init(_ count: Int) {
      self.count = min(count, Message.segmentBytesMax)
      writer = SegmentWriter(reserving: self.count)
    }

    public var octets: [UInt8] { writer.bytes }

    /// Adds a record; false if it does not fit behind the others.
    public mutating func add(
      _ record: Descriptor, nextPosition: UInt64
    ) throws(Refusal) -> Bool {
      var record = record
      record.nextPosition = nextPosition
      guard writer.bytes.count + record.byteCount <= count else {
        if writer.bytes.isEmpty { throw Refusal(.badByteCount) }
        return false
      }
      record.emit(into: &writer)
      return true
    }
  }
}

extension String {
  /// The text as a part of one line, with `?` in the place of what would end the line, or move a
  /// terminal's cursor: a name may hold any octets.
  public func inLine(bytesMax: Int = .max) -> String {
    var line = ""
    for scalar in String(decoding: utf8.prefix(bytesMax), as: UTF8.self).unicodeScalars {
      let isControl = scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value
      line.unicodeScalars.append(isControl ? "?" : scalar)
    }
    return line
  }
}
