import Testing
import VProtocol

@Suite("Descriptor")
struct DescriptorTests {
  @Test("records of a directory follow each other at multiples of 8", arguments: 0..<17)
  func sequence(nameBytes: Int) throws {
    var first = Samples.descriptor
    first.owner = "ann"
    first.group = "\u{E9}"
    first.name = [UInt8](repeating: 0x80, count: nameBytes)
    let second = Descriptor(kind: .context, identity: .init(device: 1, inode: 2, generation: 3))
    var writer = SegmentWriter()
    first.emit(into: &writer)
    #expect(writer.bytes.count == first.byteCount)
    #expect(first.byteCount % 8 == 0)
    second.emit(into: &writer)
    var reader = SegmentReader(writer.bytes)
    #expect(try Descriptor(parsing: &reader) == first)
    #expect(reader.position == first.byteCount)
    #expect(try Descriptor(parsing: &reader) == second)
    #expect(reader.remaining == 0)
  }

  @Test("a record may be longer than its fields, for fields of later versions")
  func longer() throws {
    let value = Descriptor(kind: .fifo, identity: .init(device: 1, inode: 2, generation: 3))
    var bytes = value.message.segment + [UInt8](repeating: 0xAA, count: 16)
    store(UInt16(bytes.count), at: 0, in: &bytes)
    #expect(try parse(bytes) == value)
  }

  @Test("impossible lengths are refused")
  func badLengths() {
    let sound = Samples.descriptor.message.segment
    for length in 0..<UInt16(sound.count) {
      var bytes = sound
      store(length, at: 0, in: &bytes)
      #expect(throws: WireError.badField(.descriptorLength), "\(length)") { try parse(bytes) }
    }
    var bytes = sound
    store(UInt16(sound.count + 8), at: 0, in: &bytes)
    #expect(throws: WireError.self) { try parse(bytes) }
    for offset in [116, 118, 120] {
      bytes = sound + [UInt8](repeating: 0, count: 8)
      store(UInt16(bytes.count), at: 0, in: &bytes)
      store(UInt16(256), at: offset, in: &bytes)
      #expect(throws: WireError.badField(.descriptorLength)) { try parse(bytes) }
    }
  }

  @Test("a record has a kind")
  func badKind() {
    var bytes = Samples.descriptor.message.segment
    store(UInt16(0), at: 2, in: &bytes)
    #expect(throws: WireError.badField(.descriptorKind)) { try parse(bytes) }
  }

  @Test("owner and group are UTF-8, a name is any octets")
  func text() throws {
    var value = Samples.descriptor
    value.name = [0xFF, 0, 0x2F]
    #expect(try parse(value.message.segment) == value)
    for offset in [128, 128 + 255] {
      var bytes = Samples.descriptor.message.segment
      bytes[offset] = 0xFF
      #expect(throws: WireError.badField(.utf8)) { try parse(bytes) }
    }
  }

  private func parse(_ bytes: [UInt8]) throws -> Descriptor {
    try Descriptor(parsing: Message(MessageControlBlock(), segment: bytes))
  }

  private func store(_ value: UInt16, at offset: Int, in bytes: inout [UInt8]) {
    bytes[offset] = UInt8(value >> 8)
    bytes[offset + 1] = UInt8(truncatingIfNeeded: value)
  }
}

@Suite("Modification")
struct ModificationTests {
  private static let stamps: [Modification.Stamp?] = [nil, .now, .at(-5)]

  @Test("every subset of its changes comes back", arguments: 0..<32)
  func subsets(bits: Int) throws {
    for accessed in Self.stamps {
      for modified in Self.stamps {
        var value = Modification()
        if bits & 1 != 0 { value.permissions = 0o7777 }
        if bits & 2 != 0 { value.size = 0 }
        if bits & 4 != 0 { value.owner = "" }
        if bits & 8 != 0 { value.group = "#12" }
        value.dropsPrivileges = bits & 16 != 0
        value.accessed = accessed
        value.modified = modified
        let bytes = value.octets
        var reader = SegmentReader(bytes)
        #expect(try Modification(parsing: &reader) == value)
        #expect(reader.remaining == 0)
      }
    }
  }

  @Test("a mask without a value's bit leaves the value out")
  func maskDecides() throws {
    var bytes = Samples.modification.octets
    bytes.replaceSubrange(0..<4, with: [0, 0, 0, 0])
    var reader = SegmentReader(bytes)
    #expect(try Modification(parsing: &reader) == Modification())
  }

  @Test("unknown bits of the mask are ignored, and `now` without its time is nothing")
  func unknownBits() throws {
    var bytes = Modification().octets
    bytes.replaceSubrange(0..<4, with: [0xFF, 0xFF, 0xFE, 0xA0])
    var reader = SegmentReader(bytes)
    #expect(try Modification(parsing: &reader) == Modification())
  }
}

@Suite("Segment reader and writer")
struct SegmentTests {
  @Test("integers of every width come back, most significant octet first")
  func integers() throws {
    var writer = SegmentWriter(reserving: 30)
    writer.integer(UInt8(0xAB))
    writer.integer(UInt16(0x0102))
    writer.integer(UInt32.max - 1)
    writer.integer(Int64.min)
    writer.integer(Int32(-2))
    #expect(writer.bytes.prefix(3) == [0xAB, 1, 2])
    var reader = SegmentReader(writer.bytes)
    #expect(try reader.integer(UInt8.self) == 0xAB)
    #expect(try reader.integer(UInt16.self) == 0x0102)
    #expect(try reader.integer(UInt32.self) == .max - 1)
    #expect(try reader.integer(Int64.self) == .min)
    #expect(try reader.integer(Int32.self) == -2)
    #expect(throws: WireError.truncated(needed: 1, found: 0)) { try reader.integer(UInt8.self) }
  }

  @Test("reading beyond the end is an error that moves nothing")
  func truncated() throws {
    var reader = SegmentReader([1, 2, 3])
    #expect(throws: WireError.truncated(needed: 4, found: 3)) { try reader.integer(UInt32.self) }
    #expect(throws: WireError.truncated(needed: 4, found: 3)) { try reader.octets(4) }
    #expect(throws: WireError.truncated(needed: -1, found: 3)) { try reader.octets(-1) }
    #expect(throws: WireError.self) { try reader.skip(to: 4) }
    #expect(reader.position == 0)
    try reader.skip(to: 2)
    #expect(throws: WireError.self) { try reader.skip(to: 1) }
    #expect(try reader.octets(1) == [3])
    #expect(try reader.octets(0) == [])
  }

  @Test("a text has its length in front")
  func text() throws {
    var writer = SegmentWriter()
    writer.text("\u{E9}a")
    writer.text("")
    writer.pad(to: 8)
    #expect(writer.bytes == [0, 3, 0xC3, 0xA9, 0x61, 0, 0, 0])
    var reader = SegmentReader(writer.bytes)
    #expect(try reader.text() == "\u{E9}a")
    #expect(try reader.text() == "")
    var long = SegmentReader([0xFF, 0xFF, 0x61])
    #expect(throws: WireError.truncated(needed: 65_535, found: 1)) { try long.text() }
  }
}
