import NetworkFaults
import Testing
import VProtocol
import VTransport

@Suite("Round trip")
struct RoundTripTests {
  private func after(_ samples: [Int64]) -> RoundTrip {
    var roundTrip = RoundTrip()
    for sample in samples { roundTrip.addNetworkSample(.microseconds(sample)) }
    return roundTrip
  }

  @Test("before any sample it is 50 ms")
  func before() {
    let roundTrip = RoundTrip()
    #expect(roundTrip.smoothed == nil)
    #expect(roundTrip.retransmission == .milliseconds(50))
    #expect(roundTrip.firstRetransmission == .milliseconds(50))
  }

  @Test("the first sample is taken whole, with half of it as variation")
  func first() {
    let roundTrip = after([8000])
    #expect(roundTrip.smoothed == .microseconds(8000))
    #expect(roundTrip.retransmission == .microseconds(8000 + 4 * 4000))
  }

  @Test("later samples move it by an eighth and its variation by a quarter")
  func later() {
    let roundTrip = after([8000, 16_000])
    #expect(roundTrip.smoothed == .microseconds(9000))
    // 4,000 + (8,000 - 4,000) / 4 = 5,000
    #expect(roundTrip.retransmission == .microseconds(9000 + 4 * 5000))
  }

  @Test("it stays between 1 ms and 100 ms")
  func bounds() {
    #expect(after([0]).retransmission == .milliseconds(1))
    #expect(after([1]).retransmission == .milliseconds(1))
    #expect(after([60_000_000]).retransmission == .milliseconds(100))
    let steady = after(Array(repeating: 400, count: 100))
    #expect(steady.retransmission == .milliseconds(1))
    #expect(steady.smoothed == .microseconds(400))
  }

  @Test("a slow server does not slow what its manager answers at once")
  func service() {
    var roundTrip = after(Array(repeating: 2000, count: 50))
    let network = roundTrip.retransmission
    roundTrip.addResponseSample(.microseconds(802_000))
    #expect(roundTrip.retransmission == network)
    #expect(roundTrip.smoothed == .microseconds(2000))
    // An eighth of 800 ms, twice.
    #expect(roundTrip.firstRetransmission == network + .milliseconds(200))
  }

  @Test("a response faster than the round trip is a sample of the network")
  func fastResponse() {
    var roundTrip = after([8000])
    roundTrip.addResponseSample(.microseconds(800))
    #expect(roundTrip.smoothed == .microseconds(7100))
    var first = RoundTrip()
    first.addResponseSample(.microseconds(3000))
    #expect(first.smoothed == .microseconds(3000))
  }
}

@Suite("Timer queue")
struct TimerQueueTests {
  @Test("deadlines come out in order, whatever order they went in")
  func order() {
    var generator = SeededGenerator(seed: 3)
    for count in [1, 2, 3, 10, 100, 500] {
      var queue = TimerQueue<Int>()
      let times = (0..<count).map { _ in Int64(generator.next() % 50) }
      for (key, time) in times.enumerated() { queue.push(key, at: Time(nanoseconds: time)) }
      #expect(queue.count == count)
      #expect(queue.first?.nanoseconds == times.min())
      var out: [(Int64, Int)] = []
      while let (time, key) = queue.popDue(at: Time(nanoseconds: 50)) {
        out.append((time.nanoseconds, key))
      }
      #expect(out.map(\.0) == times.sorted())
      #expect(out.allSatisfy { times[$0.1] == $0.0 })
      #expect(Set(out.map(\.1)).count == count)
      #expect(queue.count == 0 && queue.first == nil)
    }
  }

  @Test("no entry comes out before its time")
  func due() {
    var queue = TimerQueue<String>()
    #expect(queue.popDue(at: Time(nanoseconds: .max)) == nil)
    queue.push("late", at: Time(nanoseconds: 20))
    queue.push("early", at: Time(nanoseconds: 10))
    #expect(queue.popDue(at: Time(nanoseconds: 9)) == nil)
    #expect(queue.popDue(at: Time(nanoseconds: 10))?.key == "early")
    #expect(queue.popDue(at: Time(nanoseconds: 19)) == nil)
    #expect(queue.popDue(at: Time(nanoseconds: 20))?.key == "late")
  }

  @Test("a key may have several entries, and pushing between removals keeps the order")
  func mixed() {
    var generator = SeededGenerator(seed: 4)
    var queue = TimerQueue<Int>()
    var waiting: [Int64] = []
    for now: Int64 in 0..<2000 {
      for _ in 0..<Int(generator.next() % 3) {
        let time = now + Int64(generator.next() % 40)
        queue.push(7, at: Time(nanoseconds: time))
        waiting.append(time)
      }
      waiting.sort()
      while let (time, key) = queue.popDue(at: Time(nanoseconds: now)) {
        #expect(key == 7 && time.nanoseconds == waiting.removeFirst())
      }
      #expect(waiting.first.map { $0 > now } ?? true)
    }
  }
}

@Suite("Locator")
struct LocatorTests {
  @Test("prints in the usual form of addresses")
  func text() {
    #expect(Locator(ipv4: 0x0A01_02FE, port: 61_044).description == "10.1.2.254:61044")
  }
}
