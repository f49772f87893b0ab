import Testing
import VProtocol

@Suite("Entity identifier")
struct EntityIDTests {
  /// RFC 1045's own examples, then one for every flag.
  static let texts: [(String, UInt64)] = [
    ("RG-1-224.0.1.0", 0x4000_0001_E000_0100),
    ("BE-1-224.0.1.0", 0x0000_0001_E000_0100),
    ("LE-1-224.0.1.0", 0x2000_0001_E000_0100),
    ("BE-25593-36.8.0.49", 0x0000_63F9_2408_0031),
    ("UG-565338-36.8.0.77", 0x6008_A05A_2408_004D),
    ("LEA-7823-36.8.0.77", 0xA000_1E8F_2408_004D),
    ("BEA-0-0.0.0.0", 0x8000_0000_0000_0000),
    ("RGA-0-0.0.0.1", 0xC000_0000_0000_0001),
    ("UGA-268435455-255.255.255.255", 0xEFFF_FFFF_FFFF_FFFF),
    ("XUGA-268435455-255.255.255.255", 0xFFFF_FFFF_FFFF_FFFF),
    ("XBE-0-0.0.0.0", 0x1000_0000_0000_0000),
    ("BE-0-0.0.0.0", 0),
  ]

  @Test("its text is RFC 1045's", arguments: texts)
  func text(text: String, value: UInt64) {
    #expect(EntityID(rawValue: value).description == text)
    #expect(EntityID(text)?.rawValue == value)
  }

  @Test("every combination of the four flags has its own text")
  func flags() {
    var texts: Set<String> = []
    for flags: UInt64 in 0..<16 {
      let entity = EntityID(rawValue: flags << 60 | 0x0000_0123_0102_0304)
      texts.insert(entity.description)
      #expect(EntityID(entity.description) == entity)
      #expect(entity.isAlias == (flags & 8 != 0))
      #expect(entity.isGroup == (flags & 4 != 0))
      #expect(entity.isUnrestrictedGroup == (flags & 6 == 6))
      #expect(entity.isLittleEndian == (flags & 6 == 2))
      #expect(entity.discriminator == 0x123)
      #expect(entity.kernel == KernelID(0x0102_0304))
    }
    #expect(texts.count == 16)
  }

  @Test(
    "any other text is refused",
    arguments: [
      "", "-", "--", "BE", "BE-1", "BE-1-", "-1-1.2.3.4", "A-1-1.2.3.4", "X-1-1.2.3.4",
      "be-1-1.2.3.4", "BX-1-1.2.3.4", "BEX-1-1.2.3.4", "XXBE-1-1.2.3.4", "BEAA-1-1.2.3.4",
      "ABE-1-1.2.3.4", "RE-1-1.2.3.4", "BE-268435456-1.2.3.4", "BE-4294967296-1.2.3.4",
      "BE--1-1.2.3.4", "BE-0x1-1.2.3.4", "BE-1-1.2.3", "BE-1-1.2.3.4.5", "BE-1-1.2.3.256",
      "BE-1-1.2..4", "BE-1-1.2.3.-4", "BE-1-a.b.c.d", " BE-1-1.2.3.4", "BE-1-1.2.3.4 ",
      "BE-1-1.2.3.4-", "BE--1.2.3.4", "BE-+1-1.2.3.4", "BE-1-1.2.3.+4", "BE-01-1.2.3.4",
      "BE-1-1.2.3.04", "BE-1-1.2.3.4\n",
    ])
  func refused(text: String) {
    #expect(EntityID(text) == nil)
  }

  @Test("the group of a name is the low 59 bits of its FNV-1a hash after a bit of its own")
  func groupOfName() {
    let groups: [(Name, UInt64)] = [
      ("", 0x6BF2_9CE4_8422_2325), ("a", 0x6F63_DC4C_8601_EC8C),
      ("jobs", 0x69B9_0DDE_2944_6FDD),
      // The low half of this hash is that of all well-known groups.
      ("6pnc8oa", 0x6E56_FEE5_E000_0101),
    ]
    for (name, value) in groups {
      #expect(EntityID(groupNamed: name).rawValue == value)
      #expect(EntityID(groupNamed: name).isUnrestrictedGroup)
      #expect(EntityID(groupNamed: name).isNamedGroup)
      #expect(!EntityID(groupNamed: name).isWellKnownGroup)
    }
    #expect(EntityID.nameHandlingGroup.isWellKnownGroup && !EntityID.nodeGroup.isNamedGroup)
    #expect(!EntityID(group: 0x0800_0000, low: 0xE000_0100, isUnrestricted: true).isNamedGroup)
    let free = EntityID(group: 0x07FF_FFFF, low: 7, isUnrestricted: true)
    #expect(!free.isNamedGroup && !free.isWellKnownGroup)
  }

  @Test("a kernel makes big-endian entities, and 1 is its manager")
  func allocation() {
    let entity = EntityID(kernel: KernelID(0xDEAD_BEEF), discriminator: 0x0FFF_FFFF)
    #expect(entity.rawValue == 0x0FFF_FFFF_DEAD_BEEF)
    #expect(!entity.isGroup && !entity.isLittleEndian && !entity.isAlias)
    #expect(EntityID.manager(of: KernelID(7)).description == "BE-1-0.0.0.7")
  }

  @Test("well-known groups have their numbers")
  func wellKnown() {
    #expect(EntityID.managerGroup.rawValue == 0x4000_0001_E000_0100)
    #expect(EntityID.nameHandlingGroup.rawValue == 0x6000_0002_E000_0100)
    #expect(EntityID.managerGroup.isGroup && !EntityID.managerGroup.isUnrestrictedGroup)
    #expect(EntityID.nameHandlingGroup.isUnrestrictedGroup)
    #expect(!EntityID.none.isValid && EntityID.managerGroup.isValid)
  }
}

@Suite("Transaction identifier")
struct TransactionIDTests {
  @Test(
    "R6: newer is 1 to 2^31 - 1 ahead, also across the wrap",
    arguments: [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1234_5678] as [UInt32])
  func serial(start: UInt32) {
    let id = TransactionID(start)
    #expect(!id.isNewer(than: id))
    for step: UInt32 in [1, 2, 0x100, 0x7FFF_FFFE, 0x7FFF_FFFF] {
      #expect(TransactionID(start &+ step).isNewer(than: id), "+\(step)")
      #expect(!id.isNewer(than: TransactionID(start &+ step)), "+\(step)")
    }
    for step: UInt32 in [0x8000_0001, 0xFFFF_FFFF] {
      #expect(!TransactionID(start &+ step).isNewer(than: id), "+\(step)")
      #expect(id.isNewer(than: TransactionID(start &+ step)), "+\(step)")
    }
    // Half way round neither is newer: both are dropped as old.
    #expect(!TransactionID(start &+ 0x8000_0000).isNewer(than: id))
    #expect(!id.isNewer(than: TransactionID(start &+ 0x8000_0000)))
  }

  @Test("the next one is newer, and the previous one its inverse")
  func steps() {
    for start: UInt32 in [0, 1, 0x7FFF_FFFF, 0x8000_0000, .max] {
      let id = TransactionID(start)
      #expect(id.next.isNewer(than: id))
      #expect(id.next.previous == id)
      #expect(id.next.rawValue == start &+ 1)
    }
    #expect(TransactionID(.max).next == TransactionID(0))
    #expect(TransactionID(.max).description == "4294967295")
  }
}
