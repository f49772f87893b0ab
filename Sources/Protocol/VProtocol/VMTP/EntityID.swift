/// The 32 bits that identify one boot of one kernel in the cluster domain.
///
/// Drawn at random at every boot, so that identifiers of an earlier boot are invalid without a
/// stored counter (our domain 0x1045; RFC 1045 2.1 puts an Internet address here).
public struct KernelID: Hashable, Sendable, CustomStringConvertible {
  public var rawValue: UInt32
  public init(_ rawValue: UInt32) { self.rawValue = rawValue }

  /// Dotted like an address, as RFC 1045 prints the low half of an identifier.
  public var description: String { IPv4.text(of: rawValue) }
}

/// The identifier of a process or a group of processes, independent of its host.
///
/// Bits (0 is the most significant): RAE, GRP, LEE or UGP, reserved, 28 of discriminator, 32 of
/// kernel identifier. RFC 1045, 2.1 and appendix IV.
public struct EntityID: Hashable, Sendable {
  public var rawValue: UInt64

  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// An entity, not a group, made by `kernel`; big-endian, as all of ours are.
  public init(kernel: KernelID, discriminator: UInt32) {
    precondition(discriminator <= Self.discriminatorMax, "28 bits of discriminator")
    rawValue = UInt64(discriminator) << 32 | UInt64(kernel.rawValue)
  }

  /// A well-known group.
  public init(group discriminator: UInt32, low: UInt32, isUnrestricted: Bool) {
    let flags = Self.groupBit | (isUnrestricted ? Self.orderBit : 0)
    rawValue = flags | UInt64(discriminator & Self.discriminatorMax) << 32 | UInt64(low)
  }

  public var isValid: Bool { rawValue != 0 }
  public var isAlias: Bool { rawValue & Self.aliasBit != 0 }
  public var isGroup: Bool { rawValue & Self.groupBit != 0 }
  public var isUnrestrictedGroup: Bool { isGroup && rawValue & Self.orderBit != 0 }
  /// One of the system's groups, whose numbers the protocol pages assign.
  public var isWellKnownGroup: Bool {
    isGroup && UInt32(truncatingIfNeeded: rawValue) == Self.wellKnownLow
  }
  /// The group of a name (`init(groupNamed:)`), whose members only a group server joins.
  public var isNamedGroup: Bool {
    isGroup && !isWellKnownGroup && rawValue & Self.namedBit != 0
  }
  /// It was made for the nested call of a request that had been forwarded too often.
  public var isNested: Bool { !isGroup && discriminator >= Self.nestedFirst }
  /// The entity sends its user data least significant octet first.
  public var isLittleEndian: Bool { !isGroup && rawValue & Self.orderBit != 0 }
  public var discriminator: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) & 0x0FFF_FFFF }
  /// The kernel that allocated the entity: the first guess of where it is.
  public var kernel: KernelID { KernelID(UInt32(truncatingIfNeeded: rawValue)) }

  public static let none = EntityID(rawValue: 0)
  /// All VMTP managers: RFC 1045 appendix III.
  public static let managerGroup = EntityID(
    group: 1, low: wellKnownLow, isUnrestricted: false)
  /// All managers that answer for names (CACM 1988: the name handling group).
  public static let nameHandlingGroup = EntityID(
    group: 2, low: wellKnownLow, isUnrestricted: true)

  /// Discriminator 1 of every kernel is its own manager.
  public static func manager(of kernel: KernelID) -> EntityID {
    EntityID(kernel: kernel, discriminator: 1)
  }

  public static let discriminatorMax: UInt32 = 0x0FFF_FFFF
  /// Discriminators of entities from here on are those of nested calls.
  public static let nestedFirst: UInt32 = 0x0F00_0000
  /// The low half of every well-known group: the address 224.0.1.0 (RFC 1045 appendix IV).
  static let wellKnownLow: UInt32 = 0xE000_0100
  /// The top bit of a group's discriminator.
  static let namedBit: UInt64 = 1 << 59
  private static let aliasBit: UInt64 = 1 << 63
  private static let groupBit: UInt64 = 1 << 62
  private static let orderBit: UInt64 = 1 << 61
}

/// Tables by identifier are searched some thirty times for one Send.
///
/// Dictionary's default, SipHash against chosen keys, took a tenth of the time of this process.
/// Identifiers come from kernels that hold the cluster key, and the table's seed is still hashed
/// in.
@inline(__always)
private func mixed(_ value: UInt64, _ seed: Int) -> Int {
  let product = (value ^ UInt64(bitPattern: Int64(seed))) &* 0x9E37_79B9_7F4A_7C15
  return Int(truncatingIfNeeded: product ^ product >> 32)
}

extension EntityID {
  public func _rawHashValue(seed: Int) -> Int { mixed(rawValue, seed) }
}

extension KernelID {
  public func _rawHashValue(seed: Int) -> Int { mixed(UInt64(rawValue), seed) }
}

extension EntityID: CustomStringConvertible {
  /// RFC 1045 2.1: `BE-25593-36.8.0.49`, `RG-1-224.0.1.0`, `LEA-7823-36.8.0.77`.
  public var description: String {
    let reserved = rawValue & 1 << 60 != 0 ? "X" : ""
    let kind =
      isGroup
      ? (isUnrestrictedGroup ? "UG" : "RG")
      : (isLittleEndian ? "LE" : "BE")
    return "\(reserved)\(kind)\(isAlias ? "A" : "")-\(discriminator)-\(kernel)"
  }

  /// Reads the text form; nil where it is not one.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 3, let discriminator = UInt32(parts[1]),
      discriminator <= Self.discriminatorMax
    else { return nil }
    var flags = parts[0][...]
    var raw: UInt64 = 0
    if flags.hasPrefix("X") {
      raw |= 1 << 60
      flags = flags.dropFirst()
    }
    if flags.hasSuffix("A") {
      raw |= Self.aliasBit
      flags = flags.dropLast()
    }
    switch flags {
    case "BE": break
    case "LE": raw |= Self.orderBit
    case "RG": raw |= Self.groupBit
    case "UG": raw |= Self.groupBit | Self.orderBit
    default: return nil
    }
    let octets = parts[2].split(separator: ".", omittingEmptySubsequences: false)
    guard octets.count == 4 else { return nil }
    var low: UInt64 = 0
    for octet in octets {
      guard let value = UInt8(octet) else { return nil }
      low = low << 8 | UInt64(value)
    }
    rawValue = raw | UInt64(discriminator) << 32 | low
    // One entity has one text form: no signs and no leading zeros.
    guard description == text else { return nil }
  }
}
