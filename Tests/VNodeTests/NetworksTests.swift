import Testing
import VNode
import VProtocol

@Suite("Networks that a node takes part in")
struct NetworksTests {
  private let ethernet: UInt32 = 2
  private let wireless: UInt32 = 3
  private let four = IPAddress(ipv4: 0x0A4D_0001)
  private let other = IPAddress(ipv4: 0x0A4E_0001)
  private let six = IPAddress("fd77::1")!

  @Test("all interfaces that run, each with its addresses, those of IPv4 first; no loopback")
  func all() {
    var loopback = HostAddress(IPAddress(ipv4: 0x7F00_0001), on: 1)
    loopback.isLoopback = true
    var down = HostAddress(IPAddress(ipv4: 0x0A4F_0001), on: 4)
    down.isRunning = false
    var tentative = HostAddress(IPAddress("fd78::1")!, on: 5)
    tentative.isTentative = true
    let found = Network.usable(
      [
        HostAddress(other, on: wireless), HostAddress(six, on: ethernet), loopback, down, tentative,
        HostAddress(four, on: ethernet),
      ], named: nil)
    #expect(
      found == [
        Network(interface: ethernet, addresses: [four, six]),
        Network(interface: wireless, addresses: [other]),
      ])
  }

  @Test("what is as before is equal; another address, or an interface made anew, is another one")
  func changes() {
    let before = Network.usable(
      [HostAddress(four, on: ethernet), HostAddress(other, on: wireless)], named: nil)
    let same = Network.usable(
      [HostAddress(other, on: wireless), HostAddress(four, on: ethernet)], named: nil)
    #expect(same == before)
    // DHCP gives another address.
    let next = IPAddress(ipv4: 0x0A4D_0063)
    let changed = Network.usable(
      [HostAddress(next, on: ethernet), HostAddress(other, on: wireless)], named: nil)
    #expect(changed[0] != before[0] && changed[1] == before[1])
    // The same address, but the interface was made anew: all its memberships are gone.
    let anew = Network.usable([HostAddress(next, on: 9)], named: nil)
    #expect(anew == [Network(interface: 9, addresses: [next])] && anew[0] != changed[0])
    #expect(Network.usable([], named: nil).isEmpty)
  }

  @Test("a named address: only its network, when it is there; also that of the loopback interface")
  func named() {
    let both = [HostAddress(four, on: ethernet), HostAddress(six, on: ethernet)]
    #expect(
      Network.usable(both, named: four) == [Network(interface: ethernet, addresses: [four])])
    #expect(Network.usable([HostAddress(other, on: ethernet)], named: four).isEmpty)
    let local = IPAddress(ipv4: 0x7F00_0001)
    var loopback = HostAddress(local, on: 1)
    (loopback.isLoopback, loopback.hasMulticast) = (true, false)
    #expect(Network.usable([loopback], named: local).map(\.hasMulticast) == [true])
  }

  @Test("not more than the bound, the oldest interfaces first")
  func bound() {
    let hundred = (1...100).map { HostAddress(IPAddress(ipv4: $0), on: 101 - $0) }
    #expect(Network.usable(hundred, named: nil).map(\.interface) == Array(1...16))
  }
}
