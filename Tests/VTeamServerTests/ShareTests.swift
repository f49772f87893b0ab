import Testing
import VObjects
import VProtocol
import VStore
import VTeamServer

@Suite("Shares of a team server")
struct ShareTests {
  @Test("are given back when the object is gone, and only then")
  func takenShares() throws {
    let shares = TeamShares(host: "kea")
    let ann = Principal(user: "ann", host: "kea")
    var taken: [TakenShare] = []
    for _ in 0..<16 { taken.append(try shares.take(octets: 1 << 20, by: ann)) }
    #expect(throws: (any Error).self) { try shares.take(octets: 1, by: ann) }
    #expect(throws: (any Error).self) {
      // All numbers of a host have one share together.
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

  @Test("a user's refused lines push out only that user's oldest")
  func refusedLines() {
    var lines = RefusedLines(host: "kea")
    let refusal = Refusal(.busy, "no")
    func principal(_ user: String) -> Principal { Principal(user: user, host: "kea") }
    lines.note(refusal, "file", principal("ann"))
    for number in 0..<2 * RefusedLines.linesMax {
      lines.note(refusal, Name("\(number)"), principal("eve"))
      // All numbers of a host are one.
      lines.note(refusal, "file", principal("#\(number)"))
    }
    let share = RefusedLines.linesMax / ShareLimits.userPart
    #expect(lines.text("file", principal("ann")) == "refused: no\n")
    let left = (0..<2 * RefusedLines.linesMax).filter {
      !lines.text(Name("\($0)"), principal("eve")).isEmpty
    }
    #expect(left == Array((2 * RefusedLines.linesMax - share)..<2 * RefusedLines.linesMax))
    #expect(lines.text("file", principal("#0")).isEmpty)
    lines.note(nil, "file", principal("ann"))
    #expect(lines.text("file", principal("ann")).isEmpty)
  }

  @Test("an order's footprint counts its parts, which take more than their octets")
  func footprint() {
    let order = ProgramOrder(
      name: "x", arguments: [[1], [1, 2]], environment: [[]], directory: [1], user: "ann",
      starter: "ann@kea")
    #expect(order.footprint == 1 + 1 + 2 + 3 * 48)
  }
}
