import Fixtures
import Testing
import VProtocol

@Suite("Checksum")
struct ChecksumTests {
  private static let summed = Fixture.clear.filter { $0.bytes.suffix(4) != [0, 0, 0, 0] }

  @Test("F2: a flip of any one bit is noticed", arguments: summed)
  func singleBits(fixture: Fixture) {
    let isHeaderOnly = fixture.name.hasPrefix("c11")
    for bit in 0..<(fixture.bytes.count * 8) {
      // Octets that HCO leaves uncovered.
      let isData = 64..<(fixture.bytes.count - 4) ~= bit / 8
      if isHeaderOnly && isData { continue }
      var bytes = fixture.bytes
      bytes[bit / 8] ^= 0x80 >> UInt8(bit % 8)
      #expect(!isSound(bytes) || refusal(of: Array(bytes.dropLast(4))) != nil, "bit \(bit)")
      #expect(!isSound(bytes), "bit \(bit)")
    }
  }

  @Test("F3: two words of one cluster may change places unnoticed")
  func swappedWithin() {
    var bytes = Fixture.named("v3").bytes
    bytes.swapAt(0, 4)
    bytes.swapAt(1, 5)
    #expect(bytes != Fixture.named("v3").bytes)
    #expect(isSound(bytes))
  }

  @Test("F3: words of neighbouring clusters may not")
  func swappedAcross() {
    var bytes = Fixture.named("v3").bytes
    bytes.swapAt(4, 44)
    bytes.swapAt(5, 45)
    #expect(bytes != Fixture.named("v3").bytes)
    #expect(!isSound(bytes))
  }

  @Test("F5: four zero octets mean that there is none")
  func absent() {
    for fixture in Self.summed {
      #expect(isSound(fixture.body + [0, 0, 0, 0]))
    }
  }

  @Test("F5: with HCO, damage to the data passes and damage to the header does not")
  func headerOnly() {
    let packet = Fixture.named("c11").bytes
    for index in packet.indices.dropLast(4) {
      var bytes = packet
      bytes[index] ^= 0x10
      #expect(isSound(bytes) == (index >= 64), "octet \(index)")
    }
  }

  @Test("a sum of 0 is sent as 0xFFFF, and ones' complement carries come round")
  func extremes() {
    #expect(checksum([]) == 0xFFFF_FFFF)
    #expect(checksum([UInt8](repeating: 0, count: 64)) == 0xFFFF_FFFF)
    #expect(checksum([UInt8](repeating: 0xFF, count: 64)) == 0xFFFF_FFFF)
    #expect(checksum([0xFF, 0xFF, 0, 1]) == 0x0001_FFFF)
    #expect(checksum([UInt8](repeating: 0xFF, count: 16_448)) == 0xFFFF_FFFF)
  }

  @Test("clusters of 32 octets take turns")
  func clusters() {
    for index in stride(from: 0, to: 160, by: 2) {
      var bytes = [UInt8](repeating: 0, count: 160)
      bytes[index] = 0x12
      bytes[index + 1] = 0x34
      #expect(checksum(bytes) == (index / 32 % 2 == 0 ? 0x1234_FFFF : 0xFFFF_1234))
    }
  }
}

@Suite("Delivery mask")
struct DeliveryMaskTests {
  @Test(
    "F6: the whole mask of a segment",
    arguments: [
      (0, 0), (1, 1), (511, 1), (512, 1), (513, 3), (1024, 3), (1025, 7), (15_872, 0x7FFF_FFFF),
      (15_873, UInt32.max), (16_383, .max), (16_384, .max),
    ])
  func whole(size: Int, mask: UInt32) {
    #expect(DeliveryMask(segmentBytes: size).rawValue == mask)
  }

  @Test("the blocks of every size cover it exactly")
  func blocks() {
    for size in 0...16_384 {
      let mask = DeliveryMask(segmentBytes: size)
      var next = 0
      mask.forEachBlock(segmentBytes: size) { block in
        if block.lowerBound == next && block.count <= 512 { next = block.upperBound }
      }
      guard next == size, mask.octets(segmentBytes: size) == size,
        mask.blockCount == (size + 511) / 512, mask.isEmpty == (size == 0)
      else {
        Issue.record("\(size) octets")
        return
      }
    }
  }

  @Test("the lowest blocks are taken first, and the two parts make the whole")
  func lowest() {
    let mask = DeliveryMask(rawValue: 0x8000_74FF)
    for count in 0...33 {
      let taken = mask.lowest(count)
      let rest = mask.subtracting(taken)
      #expect(taken.blockCount == min(count, mask.blockCount))
      #expect(taken.union(rest) == mask)
      #expect(taken.rawValue & rest.rawValue == 0)
      if !taken.isEmpty && !rest.isEmpty { #expect(taken.rawValue < rest.rawValue) }
    }
  }

  @Test("a mask contains its own parts and no others")
  func contains() {
    let mask = DeliveryMask(rawValue: 0b1010)
    for bits: UInt32 in 0..<16 {
      #expect(mask.contains(DeliveryMask(rawValue: bits)) == (bits & 0b0101 == 0))
    }
  }

  @Test("blocks beyond the segment have no octets")
  func beyond() {
    #expect(DeliveryMask(rawValue: .max).octets(segmentBytes: 700) == 700)
    #expect(DeliveryMask(rawValue: 0xFFFF_FFFC).octets(segmentBytes: 700) == 0)
  }
}
