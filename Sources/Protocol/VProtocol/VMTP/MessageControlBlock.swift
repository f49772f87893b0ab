/// V's 32-octet message: octets 32 to 63 of every VMTP packet, as eight words.
///
/// ```
/// word 0   flags 8 | code 24
/// words 1, 2   co-resident entity (CRE), else user data
/// words 3-5    user data
/// word 6   mask of blocks sent (MDM), else user data
/// word 7   octets of segment (SDA), else user data
/// ```
/// RFC 1045 3.1 to 3.5.
public struct MessageControlBlock: Sendable {
  public var words: InlineArray<8, UInt32>

  public init(code: UInt32 = 0) {
    words = InlineArray(repeating: 0)
    words[0] = code
  }

  public subscript(word: Int) -> UInt32 {
    get { words[word] }
    set { words[word] = newValue }
  }

  /// Two words as one, the first the more significant.
  public func pair(_ word: Int) -> UInt64 {
    UInt64(words[word]) << 32 | UInt64(words[word + 1])
  }

  public mutating func setPair(_ word: Int, _ value: UInt64) {
    words[word] = UInt32(truncatingIfNeeded: value >> 32)
    words[word + 1] = UInt32(truncatingIfNeeded: value)
  }

  /// This message with one or two more words, to build a message in one expression.
  func word(_ word: Int, _ value: UInt32) -> MessageControlBlock {
    var message = self
    message[word] = value
    return message
  }
  func pair(_ word: Int, _ value: UInt64) -> MessageControlBlock {
    var message = self
    message.setPair(word, value)
    return message
  }

  public var flags: CodeFlags {
    get { CodeFlags(rawValue: UInt8(words[0] >> 24)) }
    set { words[0] = UInt32(newValue.rawValue) << 24 | code }
  }

  /// The 24 bits of request or response code.
  public var code: UInt32 {
    get { words[0] & 0x00FF_FFFF }
    set { words[0] = words[0] & 0xFF00_0000 | newValue & 0x00FF_FFFF }
  }

  public var coResident: EntityID {
    get { EntityID(rawValue: pair(1)) }
    set { setPair(1, newValue.rawValue) }
  }

  /// Octets of the whole segment: 0 where none is appended.
  public var segmentSize: Int {
    flags.contains(.segmentAppended) ? Int(words[7]) : 0
  }

  /// Sets the size of the segment that goes with this message; 0 for none.
  public mutating func setSegmentSize(_ count: Int) {
    if count > 0 {
      flags.insert(.segmentAppended)
      words[7] = UInt32(count)
    } else {
      flags.remove(.segmentAppended)
    }
  }

  public static let byteCount = 32
}

extension MessageControlBlock {
  /// The mask of blocks in word 6 (MDM), or nil.
  ///
  /// Of a message with a segment it has the blocks that are sent, and at the receiver those that
  /// came; of a request without one, the blocks of the response that are wanted.
  public var delivery: DeliveryMask? {
    get { flags.contains(.deliveryMask) ? DeliveryMask(rawValue: words[6]) : nil }
    set {
      if let newValue {
        flags.insert(.deliveryMask)
        words[6] = newValue.rawValue
      } else {
        flags.remove(.deliveryMask)
      }
    }
  }

  /// The blocks that are sent of a segment of at most 16 KB.
  public func sentBlocks(segmentBytes: Int) -> DeliveryMask {
    let all = DeliveryMask(segmentBytes: segmentBytes)
    return delivery.map { all.intersection($0) } ?? all
  }
}

extension MessageControlBlock: Equatable {
  public static func == (left: MessageControlBlock, right: MessageControlBlock) -> Bool {
    for index in 0..<8 where left.words[index] != right.words[index] { return false }
    return true
  }
}

/// The top octet of the code word: RFC 1045 3.4, figures rather than prose where they differ.
public struct CodeFlags: OptionSet, Sendable {
  public var rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// CMD: deliver only if the receiver is waiting right now.
  public static let conditional = CodeFlags(rawValue: 0x80)
  /// DGM in a request: no reply is wanted and nothing is retransmitted.
  public static let datagram = CodeFlags(rawValue: 0x40)
  /// DGM in a response: the operation may be repeated, so the response is not kept.
  ///
  /// The kernel sets it where some blocks were asked for.
  public static let idempotent = CodeFlags(rawValue: 0x40)
  /// MDM: word 6 is the mask of blocks, and some of them may be lost.
  public static let deliveryMask = CodeFlags(rawValue: 0x20)
  /// SDA: a segment is appended and word 7 is its size.
  public static let segmentAppended = CodeFlags(rawValue: 0x10)
  /// CRE: words 1 and 2 restrict delivery to one kernel.
  public static let coResident = CodeFlags(rawValue: 0x04)
  /// MRD: the client wants the responses of several members.
  public static let multipleResponses = CodeFlags(rawValue: 0x02)
  /// PIC: the code belongs to a public interface.
  public static let publicInterface = CodeFlags(rawValue: 0x01)
}

/// A whole message: the 32 octets and up to 16 KB of segment.
///
/// A value without a segment owns no heap memory.
public struct Message: Equatable, Sendable {
  public var mcb: MessageControlBlock
  public var segment: [UInt8]

  public init(_ mcb: MessageControlBlock, segment: [UInt8] = []) {
    precondition(segment.count <= Self.segmentBytesMax, "a segment has at most 16,384 octets")
    self.mcb = mcb
    self.segment = segment
    self.mcb.setSegmentSize(segment.count)
  }

  /// A response with a code and nothing else.
  public init(reply code: ReplyCode) {
    self.init(MessageControlBlock(code: code.rawValue & 0x00FF_FFFF))
  }

  /// A message with only a segment; it is parsed by `text` or `segment`.
  init(segment: [UInt8]) { self.init(MessageControlBlock(), segment: segment) }

  /// The whole segment, which must be valid UTF-8.
  func text() throws(WireError) -> String {
    var reader = SegmentReader(segment)
    return try reader.string(reader.remaining)
  }

  /// The code of a response.
  public var reply: ReplyCode { ReplyCode(rawValue: mcb.code) }

  /// The blocks of the segment that are sent: all, or with MDM those in the mask.
  public var blocks: DeliveryMask { mcb.sentBlocks(segmentBytes: segment.count) }

  /// One packet group: 32 blocks of 512 octets.
  ///
  /// RFC 1045 2.8.
  public static let segmentBytesMax = 16_384
}
