import Testing
import VProtocol

@Suite("Rate limit")
struct RateLimitTests {
  private func count(_ limit: inout RateLimit, _ tries: Int, at nanoseconds: Int64) -> Int {
    var taken = 0
    for _ in 0..<tries where limit.take(at: Time(nanoseconds: nanoseconds)) { taken += 1 }
    return taken
  }

  @Test("allows so many events at once, and none before a second is over")
  func burst() {
    var limit = RateLimit(perSecond: 100)
    let counts = (
      count(&limit, 1000, at: 5), count(&limit, 1000, at: 1_000_000_004),
      count(&limit, 1000, at: 1_000_000_005)
    )
    #expect(counts == (100, 0, 100))
  }

  @Test("no second, wherever it starts, has more")
  func anySecond() {
    var limit = RateLimit(perSecond: 10)
    var taken: [Int64] = []
    for step in 0..<4000 {
      let now = Int64(step) * 7_000_000 + Int64(step * step % 5_000_000)
      if count(&limit, 1, at: now) == 1 { taken.append(now) }
    }
    #expect(taken.count > 200)
    for index in taken.indices.dropFirst(10) {
      #expect(taken[index] - taken[index - 10] >= 1_000_000_000)
    }
  }
}
