import Testing
import VProtocol
import VStore

@testable import VTeamServer

@Suite("Shares of a team server")
struct ShareTests {
  private func payer(_ user: String, _ host: String? = nil) -> Share.Payer {
    Share.Payer(user: user, host: host)
  }

  @Test("have two levels, and strangers never touch what is left to the host's own users")
  func levels() {
    var share = Share(Share.Bounds(user: 4, host: 6, strangers: 8, all: 12))
    func take(_ payer: Share.Payer) -> Int {
      var count = 0
      while share.fits(1, payer) && count < 100 {
        share.add(1, payer)
        count += 1
      }
      return count
    }
    #expect(take(payer("ann", "kea")) == 4)
    #expect(take(payer("bob", "kea")) == 2)
    #expect(take(payer("ann", "tui")) == 2)
    #expect(take(payer("ann", "moa")) == 0)
    #expect(take(payer("ann")) == 4)
    #expect(take(payer("bob")) == 0)
    #expect(take(payer("root")) == 100)
    #expect(take(payer("root", "kea")) == 0)
    share.add(-1, payer("ann", "tui"))
    #expect(take(payer("ann", "moa")) == 1)
    #expect(share.total == 112)
  }

  @Test("are given back when what they were taken for is gone, and only then")
  func takenShares() throws {
    let shares = TeamShares(host: "kea")
    let ann = Principal(user: "ann", host: "kea")
    var taken: [TakenShare] = []
    for _ in 0..<16 { taken.append(try shares.take(octets: 1 << 20, by: ann)) }
    #expect(throws: (any Error).self) { try shares.take(octets: 1, by: ann) }
    #expect(throws: (any Error).self) {
      // All numbers of a host pay together.
      var numbers: [TakenShare] = []
      for number in 0..<17 {
        numbers.append(
          try shares.take(octets: 1 << 20, by: Principal(user: "#\(number)", host: "kea")))
      }
    }
    taken.removeLast()
    #expect(shares.counts.octets == 15 << 20)
    taken.append(try shares.take(octets: 1 << 20, by: ann))
    taken = []
    #expect(shares.counts.octets == 0)
  }

  @Test("an order's footprint counts its parts, which take more than their octets")
  func footprint() {
    let order = ProgramOrder(
      name: "x", arguments: [[1], [1, 2]], environment: [[]], directory: [1], user: "ann",
      starter: "ann@kea")
    #expect(order.footprint == 1 + 1 + 2 + 3 * 48)
  }
}
