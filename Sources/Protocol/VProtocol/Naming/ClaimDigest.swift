/// What a table of claims has, in 64 numbers: tables with equal digests have the same claims.
///
/// Each claim counts in the bucket of its prefix. The number of a bucket is the sum of the hashes
/// of its claims, without carry beyond 64 bits; without claims it is 0. Hashes are no protection
/// against a host that lies: it can spread lies anyway.
public struct ClaimDigest: Equatable, Sendable {
  private var sums: [UInt64]

  public init() { sums = [UInt64](repeating: 0, count: Self.bucketCount) }

  public init(parsing reader: inout SegmentReader) throws(WireError) {
    self.init()
    for bucket in sums.indices { sums[bucket] = try reader.integer() }
  }

  public func emit(into writer: inout SegmentWriter) {
    for sum in sums { writer.integer(sum) }
  }

  /// Counts a claim of the table, each once.
  public mutating func add(_ claim: Claim) { sums[claim.bucket] &+= claim.hash }
  /// Takes a claim out that was counted.
  public mutating func remove(_ claim: Claim) { sums[claim.bucket] &-= claim.hash }

  /// The buckets in which `other` has claims, and not the same ones as this: bit N for bucket N.
  public func buckets(missing other: ClaimDigest) -> UInt64 {
    var missing: UInt64 = 0
    for bucket in sums.indices
    where other.sums[bucket] != 0 && other.sums[bucket] != sums[bucket] {
      missing |= 1 << UInt64(bucket)
    }
    return missing
  }

  /// With 4,000 claims of 1,000 hosts, a bucket fills four packets.
  static let bucketCount = 64
  public static let byteCount = 8 * bucketCount
}

extension Claim {
  /// The bucket of its prefix in a digest.
  public var bucket: Int { Int(Self.hash(prefix[...]) % UInt64(ClaimDigest.bucketCount)) }

  /// The hash of its record, without the length.
  public var hash: UInt64 {
    var writer = SegmentWriter(reserving: byteCount)
    emit(into: &writer)
    return Self.hash(writer.bytes[2...])
  }

  /// FNV-1a, whose bits are then mixed so that each of them depends on every octet.
  private static func hash(_ octets: ArraySlice<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for octet in octets { hash = (hash ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
    hash = (hash ^ hash >> 33) &* 0xFF51_AFD7_ED55_8CCD
    hash = (hash ^ hash >> 33) &* 0xC4CE_B9FE_1A85_EC53
    return hash ^ hash >> 33
  }
}
