import Testing
import VNode

@Suite("Turns of workers at the sockets")
struct SocketTurnsTests {
  @Test("as a rule any worker may, and an emptied socket is not watched again")
  func shared() {
    var turns = SocketTurns()
    let begun = (turns.begin(5), turns.begin(5), turns.begin(6))
    #expect(begun == (true, true, true))
    for socket: Int32 in [5, 5, 6] {
      let again = turns.end(socket, packets: 100, refused: 3, isEmptied: true)
      #expect(again.isEmpty)
    }
  }

  @Test("a socket that was left with more is watched again")
  func turnLimit() {
    var turns = SocketTurns()
    _ = turns.begin(5)
    let again = turns.end(5, packets: SocketTurns.packetsMax, refused: 0, isEmptied: false)
    #expect(again == [5])
    #expect(!turns.isFlooded)
  }

  @Test("while most packets are refused one worker serves both sockets, and no event is lost")
  func flood() {
    var turns = SocketTurns()
    _ = turns.begin(5)
    var again = turns.end(5, packets: 256, refused: 200, isEmptied: false)
    #expect(turns.isFlooded && again == [5])
    let begun = (turns.begin(5), turns.begin(6), turns.begin(5))
    #expect(begun == (true, false, false))
    again = turns.end(5, packets: 256, refused: 256, isEmptied: true)
    #expect(again == [5, 6], "others were sent away meanwhile")
    let next = (turns.begin(6), turns.begin(5))
    #expect(next == (true, false))
    again = turns.end(6, packets: 40, refused: 2, isEmptied: true)
    #expect(!turns.isFlooded && again == [5])
    let after = (turns.begin(5), turns.begin(6))
    #expect(after == (true, true))
  }

  @Test("a few bad packets are no flood")
  func strayPackets() {
    var turns = SocketTurns()
    _ = turns.begin(5)
    _ = turns.end(5, packets: 5, refused: 5, isEmptied: true)
    #expect(!turns.isFlooded)
  }
}
