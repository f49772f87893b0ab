/// The 64 octets that open every VMTP packet, in host byte order.
///
/// ```
///  0  client             8
///  8  version 3 | domain 13 | HCO EPG MPG | length 13 (words of segment data)
/// 12  control 9 | retransmit count 3 | forward count 4 |
///       gap or group count 8 | priority 4 | reserved 3 | function 1
/// 16  transaction        4
/// 20  packet delivery    4
/// 24  server             8
/// 32  message           32
/// 64  segment data, padded to 8; then the trailer (4 clear, 28 sealed)
/// ```
/// RFC 1045 3. It can hold only well-formed headers.
public struct PacketHeader: Equatable, Sendable {
  public var client: EntityID
  public var domain: UInt16 = Self.clusterDomain
  public var packetFlags: PacketFlags = []
  /// 32-bit words of segment data in this packet, padding in: even, 0 to 4,096.
  public var dataWords: Int = 0
  public var control: ControlFlags = []
  /// Earlier transmissions of this group, mod 8; a response copies its request's.
  public var retransmitCount: UInt8 = 0
  /// Times forwarded, 0 to 15.
  public var forwardCount: UInt8 = 0
  /// Request: gap wanted in the response, 1/32 packet times.
  ///
  /// Response: groups also covered.
  public var gap: UInt8 = 0
  public var priority = Priority.normal
  public var function: PacketFunction
  public var transaction: TransactionID
  public var delivery: DeliveryMask = []
  public var server: EntityID
  public var mcb: MessageControlBlock

  public init(
    function: PacketFunction, client: EntityID, transaction: TransactionID, server: EntityID,
    mcb: MessageControlBlock
  ) {
    self.function = function
    self.client = client
    self.transaction = transaction
    self.server = server
    self.mcb = mcb
  }

  /// Whether the packet has every block that is sent of its group.
  public var isWholeGroup: Bool {
    delivery.contains(mcb.sentBlocks(segmentBytes: mcb.segmentSize))
  }

  public static let byteCount = 64
  /// The version of this protocol: it rises with every change of a layout.
  ///
  /// Nodes of different versions list each other's packets and exchange no messages.
  public static let version: UInt8 = 2
  /// The naming domain of this system; identifiers in it end in a kernel identifier.
  public static let clusterDomain: UInt16 = 0x1045
  /// Octets of segment data in this packet, padding in.
  public var dataBytes: Int { dataWords * 4 }
}

/// Where each field starts, in the order of the diagram.
private enum Offset {
  static let client = 0
  static let word2 = 8
  static let word3 = 12
  static let transaction = 16
  static let delivery = 20
  static let server = 24
  static let mcb = 32
}

extension PacketHeader {
  /// Reads the header at the front of a packet whose trailer is already known to be sound.
  ///
  /// `bodyBytes` is the packet's size without its trailer. Checks in the order of RFC 1045 4.7.
  public init(
    parsing packet: RawSpan, bodyBytes: Int, version: UInt8 = Self.version
  ) throws(WireError) {
    guard packet.byteCount >= bodyBytes, bodyBytes >= Self.byteCount else {
      throw .truncated(needed: Self.byteCount, found: min(bodyBytes, packet.byteCount))
    }
    try Self.checkVersion(of: packet, is: version)
    let word2 = packet.bigEndian(at: Offset.word2, as: UInt32.self)
    let client = EntityID(rawValue: packet.bigEndian(at: Offset.client))
    let server = EntityID(rawValue: packet.bigEndian(at: Offset.server))
    guard client.isValid, server.isValid else { throw .invalidEntity }
    let word3 = packet.bigEndian(at: Offset.word3, as: UInt32.self)
    var mcb = MessageControlBlock()
    for index in 0..<8 {
      mcb[index] = packet.bigEndian(at: Offset.mcb + 4 * index)
    }
    self.init(
      function: word3 & 1 == 0 ? .request : .response, client: client,
      transaction: TransactionID(packet.bigEndian(at: Offset.transaction)), server: server,
      mcb: mcb)
    domain = UInt16(word2 >> 16 & 0x1FFF)
    packetFlags = PacketFlags(rawValue: UInt8(word2 >> 13 & 7))
    dataWords = Int(word2 & 0x1FFF)
    control = ControlFlags(rawValue: UInt16(word3 >> 23))
    retransmitCount = UInt8(word3 >> 20 & 7)
    forwardCount = UInt8(word3 >> 16 & 15)
    gap = UInt8(word3 >> 8 & 255)
    priority = Priority(bits: UInt8(word3 >> 4 & 15))
    delivery = DeliveryMask(rawValue: packet.bigEndian(at: Offset.delivery))
    try check(bodyBytes: bodyBytes)
  }

  /// Throws for a packet of another version, sealed or not: the version is never encrypted.
  public static func checkVersion(
    of packet: RawSpan, is spoken: UInt8 = Self.version
  ) throws(WireError) {
    guard packet.byteCount >= Offset.word3 else { return }
    let version = UInt8(packet.bigEndian(at: Offset.word2, as: UInt32.self) >> 29)
    guard version == spoken else { throw .badVersion(version) }
  }

  /// Rules 4 and 5 of RFC 1045 4.7: sizes and masks that must agree.
  private func check(bodyBytes: Int) throws(WireError) {
    guard domain == Self.clusterDomain || domain == 1 else { throw .badDomain(domain) }
    guard dataWords % 2 == 0, dataWords <= Self.dataWordsMax,
      bodyBytes == Self.byteCount + dataBytes
    else { throw .badLength }
    let segmentBytes = mcb.segmentSize
    guard segmentBytes <= Message.segmentBytesMax else { throw .badLength }
    guard DeliveryMask(segmentBytes: segmentBytes).contains(delivery) else { throw .badDelivery }
    let octets = delivery.octets(segmentBytes: segmentBytes)
    guard (octets + 7) / 8 * 8 == dataBytes else { throw .badDelivery }
  }

  /// Writes the exact inverse of `init(parsing:bodyBytes:)` into the first 64 octets.
  public func emit(into packet: inout MutableRawSpan, version: UInt8 = Self.version) {
    precondition(dataWords % 2 == 0 && dataWords <= Self.dataWordsMax, "length is even, <= 4,096")
    packet.storeBigEndian(client.rawValue, at: Offset.client)
    let word2 =
      UInt32(version) << 29 | UInt32(domain & 0x1FFF) << 16 | UInt32(packetFlags.rawValue & 7)
      << 13 | UInt32(dataWords)
    packet.storeBigEndian(word2, at: Offset.word2)
    let word3 =
      UInt32(control.rawValue & 0x1FF) << 23 | UInt32(retransmitCount & 7) << 20
      | UInt32(forwardCount & 15) << 16 | UInt32(gap) << 8 | UInt32(priority.bits) << 4
      | UInt32(function.rawValue)
    packet.storeBigEndian(word3, at: Offset.word3)
    packet.storeBigEndian(transaction.rawValue, at: Offset.transaction)
    packet.storeBigEndian(delivery.rawValue, at: Offset.delivery)
    packet.storeBigEndian(server.rawValue, at: Offset.server)
    for index in 0..<8 { packet.storeBigEndian(mcb[index], at: Offset.mcb + 4 * index) }
  }

  static let dataWordsMax = 4096
}
