/// Big-endian reading and writing: the order of every multi-octet field of V.
extension RawSpan {
  /// The integer at `offset`; the caller has checked that it lies inside.
  @inline(__always)
  public func bigEndian<T: FixedWidthInteger & BitwiseCopyable>(
    at offset: Int, as type: T.Type = T.self
  ) -> T {
    precondition(offset >= 0 && offset + MemoryLayout<T>.size <= byteCount, "read past the end")
    return unsafe T(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// A copy of the octets of `range`.
  public func copy(_ range: Range<Int>) -> [UInt8] {
    unsafe extracting(range).withUnsafeBytes { unsafe Array($0) }
  }
}

extension MutableRawSpan {
  /// Stores `value` at `offset`, most significant octet first.
  @inline(__always)
  public mutating func storeBigEndian<T: FixedWidthInteger & BitwiseCopyable>(
    _ value: T, at offset: Int
  ) {
    storeBytes(of: value.bigEndian, toByteOffset: offset, as: T.self)
  }
}

/// Reads the fields of a segment in order; a segment that is too short is a `WireError`, never a
/// trap.
public struct SegmentReader: Sendable {
  private let bytes: [UInt8]
  public private(set) var position: Int

  public init(_ bytes: [UInt8], at position: Int = 0) {
    self.bytes = bytes
    self.position = position
  }

  public var remaining: Int { bytes.count - position }

  public mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type = T.self
  ) throws(WireError) -> T {
    let size = MemoryLayout<T>.size
    guard remaining >= size else { throw .truncated(needed: size, found: remaining) }
    defer { position += size }
    return unsafe bytes.span.bytes.bigEndian(at: position, as: T.self)
  }

  public mutating func octets(_ count: Int) throws(WireError) -> [UInt8] {
    guard count >= 0, remaining >= count else {
      throw .truncated(needed: count, found: remaining)
    }
    defer { position += count }
    return Array(bytes[position..<(position + count)])
  }

  /// A string of `count` octets that must be valid UTF-8.
  public mutating func string(_ count: Int) throws(WireError) -> String {
    guard let text = String(validating: try octets(count), as: UTF8.self) else {
      throw .badField(.utf8)
    }
    return text
  }

  /// A text behind its length of 16 bits.
  public mutating func text() throws(WireError) -> String {
    let count = try integer(UInt16.self)
    return try string(Int(count))
  }

  public mutating func skip(to target: Int) throws(WireError) {
    guard target >= position, target <= bytes.count else {
      throw .truncated(needed: target - position, found: remaining)
    }
    position = target
  }
}

/// Writes the fields of a segment in order.
public struct SegmentWriter: Sendable {
  public private(set) var bytes: [UInt8] = []

  public init(reserving count: Int = 0) { bytes.reserveCapacity(count) }

  public mutating func integer<T: FixedWidthInteger>(_ value: T) {
    var shift = T.bitWidth
    while shift > 0 {
      shift -= 8
      bytes.append(UInt8(truncatingIfNeeded: value >> T(shift)))
    }
  }

  public mutating func octets(_ values: some Sequence<UInt8>) { bytes.append(contentsOf: values) }

  /// A text behind its length of 16 bits; text beyond 65,535 octets is an error of the caller.
  public mutating func text(_ value: String) {
    integer(UInt16(value.utf8.count))
    octets(value.utf8)
  }

  /// Zeros up to the next multiple of `alignment`.
  public mutating func pad(to alignment: Int) {
    while bytes.count % alignment != 0 { bytes.append(0) }
  }
}
