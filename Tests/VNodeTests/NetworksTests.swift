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
    var networks = Networks(named: nil)
    var loopback = HostAddress(IPAddress(ipv4: 0x7F00_0001), on: 1)
    loopback.isLoopback = true
    var down = HostAddress(IPAddress(ipv4: 0x0A4F_0001), on: 4)
    down.isRunning = false
    var tentative = HostAddress(IPAddress("fd78::1")!, on: 5)
    tentative.isTentative = true
    let found = networks.update([
      HostAddress(other, on: wireless), HostAddress(six, on: ethernet), loopback, down, tentative,
      HostAddress(four, on: ethernet),
    ])
    let list = [
      Network(interface: ethernet, addresses: [four, six]),
      Network(interface: wireless, addresses: [other]),
    ]
    #expect(networks.list == list)
    #expect(found == Networks.Change(left: [], entered: list))
  }

  @Test("what is as before is not touched; another address, or an interface anew, is entered anew")
  func changes() {
    var networks = Networks(named: nil)
    _ = networks.update([HostAddress(four, on: ethernet), HostAddress(other, on: wireless)])
    let same = networks.update([HostAddress(other, on: wireless), HostAddress(four, on: ethernet)])
    #expect(same == Networks.Change(left: [], entered: []))
    // DHCP gives another address.
    let next = IPAddress(ipv4: 0x0A4D_0063)
    let changed = networks.update([
      HostAddress(next, on: ethernet), HostAddress(other, on: wireless),
    ])
    #expect(changed.left == [Network(interface: ethernet, addresses: [four])])
    #expect(changed.entered == [Network(interface: ethernet, addresses: [next])])
    // The same address, but the interface was made anew: all its memberships are gone.
    let anew = networks.update([HostAddress(next, on: 9), HostAddress(other, on: wireless)])
    #expect(anew.left.map(\.interface) == [ethernet] && anew.entered.map(\.interface) == [9])
    let gone = networks.update([])
    #expect(Set(gone.left.map(\.interface)) == [9, wireless] && networks.list.isEmpty)
  }

  @Test("a named address: only its network, when it is there; also that of the loopback interface")
  func named() {
    var networks = Networks(named: four)
    _ = networks.update([HostAddress(four, on: ethernet), HostAddress(six, on: ethernet)])
    #expect(networks.list == [Network(interface: ethernet, addresses: [four])])
    #expect(networks.update([HostAddress(other, on: ethernet)]).left.count == 1)
    #expect(networks.list.isEmpty)
    #expect(networks.update([HostAddress(four, on: 7)]).entered.count == 1)
    var local = Networks(named: IPAddress(ipv4: 0x7F00_0001))
    var loopback = HostAddress(IPAddress(ipv4: 0x7F00_0001), on: 1)
    (loopback.isLoopback, loopback.hasMulticast) = (true, false)
    #expect(local.update([loopback]).entered.first?.hasMulticast == true)
  }

  @Test("not more than the bound, the oldest interfaces first")
  func bound() {
    var networks = Networks(named: nil)
    _ = networks.update((1...100).map { HostAddress(IPAddress(ipv4: $0), on: 101 - $0) })
    #expect(networks.list.map(\.interface) == Array(1...16))
  }
}
