import Testing
import VProtocol
import VStore
import VTeamServer

@Suite("Shares of a team server")
struct ShareTests {
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
