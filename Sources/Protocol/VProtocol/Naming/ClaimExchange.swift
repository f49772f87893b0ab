// How directories come to have the same claims: changed claims are spread at once, digests from
// time to time, and whoever lacks something asks for it.

/// Spreads claims among directories: a datagram of at most 1,024 octets, so one packet.
///
/// With `wantsAnswer` it is from a directory that has just started and asks what the others have.
public struct SpreadClaims: Operation {
  public static let code: UInt32 = 0x00100C
  public static let isIdempotent = true

  public var claims: [Claim]
  public var wantsAnswer: Bool

  public init(_ claims: [Claim], wantsAnswer: Bool) {
    self.claims = claims
    self.wantsAnswer = wantsAnswer
  }
  public init(parsing message: Message) throws(WireError) {
    wantsAnswer = message.mcb[1] & 1 != 0
    var reader = SegmentReader(message.segment)
    claims = try Claim.list(in: &reader)
  }
  public var message: Message {
    Message(Self.request.word(1, wantsAnswer ? 1 : 0), segment: Claim.octets(of: claims))
  }

  /// Splits the claims into messages of one packet each; none without claims.
  public static func messages(_ claims: [Claim]) -> [SpreadClaims] {
    var messages: [SpreadClaims] = []
    var rest = claims[...]
    while !rest.isEmpty {
      messages.append(
        SpreadClaims(Claim.take(from: &rest, bytesMax: bytesMax), wantsAnswer: false))
    }
    return messages
  }

  fileprivate static let bytesMax = 1024
}

/// Spreads the digest of a directory's table, and the claims of its own host: a datagram of at most
/// 1,024 octets.
///
/// Those of its own host that have no room are spread by SpreadClaims.
public struct SpreadDigest: Operation {
  public static let code: UInt32 = 0x001011
  public static let isIdempotent = true

  /// The sender, as it is asked for claims.
  public var directory: EntityID
  public var digest: ClaimDigest
  public var claims: [Claim]

  public init(_ directory: EntityID, _ digest: ClaimDigest, _ claims: [Claim]) {
    self.directory = directory
    self.digest = digest
    self.claims = claims
  }
  public init(parsing message: Message) throws(WireError) {
    directory = EntityID(rawValue: message.mcb.pair(1))
    guard directory.isValid, !directory.isGroup else { throw .invalidEntity }
    var reader = SegmentReader(message.segment)
    digest = try ClaimDigest(parsing: &reader)
    claims = try Claim.list(in: &reader)
  }
  public var message: Message {
    var writer = SegmentWriter()
    digest.emit(into: &writer)
    return Message(
      Self.request.pair(1, directory.rawValue), segment: writer.bytes + Claim.octets(of: claims))
  }

  /// A digest with as many of `claims` as it has room for, which are taken out.
  public static func filled(
    _ directory: EntityID, _ digest: ClaimDigest, from claims: inout ArraySlice<Claim>
  ) -> SpreadDigest {
    SpreadDigest(
      directory, digest,
      Claim.take(from: &claims, bytesMax: SpreadClaims.bytesMax - ClaimDigest.byteCount))
  }
}

/// Asks a directory for the claims in some buckets of its digest.
public struct QueryClaims: Operation {
  public static let code: UInt32 = 0x001012
  public static let isIdempotent = true

  /// Bit N for bucket N.
  public var buckets: UInt64
  /// `next` of the answer before, 0 at first.
  public var start: UInt64

  public init(_ buckets: UInt64, from start: UInt64 = 0) {
    self.buckets = buckets
    self.start = start
  }
  public init(parsing message: Message) throws(WireError) {
    buckets = message.mcb.pair(1)
    start = message.mcb.pair(3)
  }
  public var message: Message { Message(Self.request.pair(1, buckets).pair(3, start)) }

  public struct Answer: OperationAnswer {
    /// Where the next claims start; 0 behind the last.
    public var next: UInt64
    public var claims: [Claim]

    public init(next: UInt64, claims: [Claim]) {
      self.next = next
      self.claims = claims
    }
    public init(parsing message: Message) throws(WireError) {
      next = message.mcb.pair(1)
      var reader = SegmentReader(message.segment)
      claims = try Claim.list(in: &reader)
    }
    public var message: Message {
      Message(Self.answer.pair(1, next), segment: Claim.octets(of: claims))
    }
  }
}

extension Claim {
  /// The rest of a segment; it has room for fewer claims than a table has.
  fileprivate static func list(in reader: inout SegmentReader) throws(WireError) -> [Claim] {
    var claims: [Claim] = []
    while reader.remaining > 0 { claims.append(try Claim(parsing: &reader)) }
    return claims
  }

  fileprivate static func octets(of claims: [Claim]) -> [UInt8] {
    var writer = SegmentWriter()
    for claim in claims { claim.emit(into: &writer) }
    return writer.bytes
  }

  /// Takes claims from the front, as many as fill `bytesMax` octets at most; `bytesMax` is more
  /// than the longest has.
  fileprivate static func take(from claims: inout ArraySlice<Claim>, bytesMax: Int) -> [Claim] {
    var taken: [Claim] = []
    var bytes = 0
    while let claim = claims.first, bytes + claim.byteCount <= bytesMax {
      bytes += claim.byteCount
      taken.append(claims.removeFirst())
    }
    return taken
  }
}
