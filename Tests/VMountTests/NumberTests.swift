import Testing
import VClient
import VFuse
import VProtocol

@Suite("Numbers that Linux sees")
struct NumberTests {
  @Test("a million objects of four prefixes and eight devices have a million inode numbers")
  func unique() {
    var seen = Set<UInt64>(minimumCapacity: 1_000_000)
    for prefix in ["storage/kea", "storage/moa", "src", "home"] {
      let tree = Tree(prefix: Array(prefix.utf8))
      for device in 0..<UInt64(8) {
        for inode in 1...UInt64(31_250) {
          seen.insert(
            tree.number(
              of: Descriptor.Identity(device: 0x800 + device, inode: inode, generation: 7)))
        }
      }
    }
    #expect(seen.count == 1_000_000)
    #expect(!seen.contains(0) && !seen.contains(1))
  }

  @Test("an inode number is the same in every process and on every host")
  func stable() {
    let identity = Descriptor.Identity(device: 0xFE00, inode: 42, generation: 9)
    let numbers = (0..<3).map { _ in
      Tree(prefix: Array("storage/kea".utf8)).number(of: identity)
    }
    #expect(Set(numbers).count == 1)
    // Written out: a change of it would change every file's number at the next upgrade.
    #expect(numbers[0] == Self.known)
  }

  static let known: UInt64 = 8_061_981_968_885_821_080

  @Test("device numbers survive the way through FUSE's 32 bits")
  func devices() {
    for (major, minor) in [(1, 3), (8, 0), (259, 70_000), (4095, 1_048_575), (0, 0)]
      as [(UInt64, UInt64)]
    {
      let number = major << 32 | minor
      #expect(DeviceNumber.decode(DeviceNumber.encode(number)) == number)
    }
    #expect(DeviceNumber.encode(1 << 32 | 3) == 0x103)
  }
}
