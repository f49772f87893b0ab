import Testing
import VSealing

@Suite("Replay window")
struct ReplayWindowTests {
  private func accept(_ window: inout ReplayWindow, _ number: UInt64) -> Bool {
    window.accept(number)
  }

  @Test("each number is taken once, in order")
  func inOrder() {
    var window = ReplayWindow()
    for number: UInt64 in 0..<5000 {
      #expect(accept(&window, number))
      #expect(!accept(&window, number))
    }
  }

  @Test("the first number opens the window, wherever it is", arguments: [0, 1, 1 << 40, .max])
  func first(number: UInt64) {
    var window = ReplayWindow()
    #expect(accept(&window, number))
    #expect(!accept(&window, number))
  }

  @Test("1,024 numbers back from the highest are still told apart, older ones are refused")
  func edge() {
    for highest: UInt64 in [1023, 1024, 5000, 5001, 5063, 5064, .max] {
      var window = ReplayWindow()
      #expect(accept(&window, highest))
      if highest >= 1024 { #expect(!accept(&window, highest - 1024)) }
      #expect(accept(&window, highest - 1023))
      #expect(!accept(&window, highest - 1023))
      #expect(accept(&window, highest - 1))
      #expect(!accept(&window, highest - 1))
    }
    #expect(ReplayWindow.size == 1024)
  }

  @Test("a jump ahead drops numbers that are then too old, and no others", arguments: 1...1030)
  func jump(step: UInt64) {
    var window = ReplayWindow()
    let base: UInt64 = 10_000
    for number in (base - 1023)...base { #expect(accept(&window, number)) }
    let highest = base + step
    #expect(accept(&window, highest))
    for number in (base - 1023)...highest {
      // Numbers between the old and the new highest are new; the rest was seen or is too old.
      let isNew = number > base && number < highest && highest - number < 1024
      if accept(&window, number) != isNew { Issue.record("\(number)") }
    }
  }

  @Test("it agrees with a set of all seen numbers, in any order")
  func model() {
    var window = ReplayWindow()
    var seen: Set<UInt64> = []
    var highest: UInt64 = 0
    var state: UInt64 = 12
    for index in 0..<20_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let center = UInt64(index) * 2 + 3000
      let number = center - 1500 + (state >> 33) % 2000
      let isNew = !seen.contains(number) && (seen.isEmpty || number + 1024 > highest)
      if accept(&window, number) != isNew {
        Issue.record("number \(number), highest \(highest)")
        return
      }
      if isNew { seen.insert(number) }
      highest = max(highest, isNew ? number : highest)
    }
  }
}
