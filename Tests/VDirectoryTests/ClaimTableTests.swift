import Testing
import VDirectory
import VProtocol

@Suite("The table of claims as a value")
struct ClaimTableTests {
  private static let own = KernelID(1)

  private static func claim(
    _ prefix: String, of kernel: KernelID, host: String = "moa", clock: UInt64 = 1,
    state: Claim.State = .present
  ) -> Claim {
    Claim(
      prefix: Array(prefix.utf8), manager: EntityID(kernel: kernel, discriminator: 9),
      context: ContextID(rawValue: 1), host: host, clock: clock, state: state)
  }

  private static let now = Time(nanoseconds: 1_000_000_000)
  private static let wall: Int64 = 1_700_000_000_000_000_000

  /// Merges `count` claims of `kernel` into `table`; returns how many were accepted.
  private func tell(
    _ table: inout ClaimTable, _ count: Int, _ front: String, of kernel: KernelID,
    from teller: KernelID?, at now: Time = Self.now
  ) -> Int {
    (0..<count).count { number in
      let claim = Self.claim("\(front)\(number)", of: kernel)
      return table.merge(claim, from: teller, at: now, Self.wall) == .news(replaced: nil)
    }
  }

  @Test("one kernel has a share of the table, and all of them leave this host's own part")
  func shares() {
    var table = ClaimTable()
    let share = DirectoryLimits.claimsOfOneMax
    let rest = Claim.claimsMax - share
    #expect(tell(&table, 200, "a", of: KernelID(2), from: KernelID(2)) == share)
    #expect(tell(&table, 20, "b", of: KernelID(3), from: KernelID(3)) == 20)
    var taken = share + 20
    for number in 4..<12 as Range<UInt32> {
      let kernel = KernelID(number)
      taken += tell(&table, 200, "c\(number)/", of: kernel, from: kernel)
    }
    #expect(taken == rest)
    #expect(tell(&table, 200, "own", of: Self.own, from: nil) == share)
    #expect(table.components(below: []).contains { $0.component == Array("a0".utf8) })
  }

  @Test("a host's own claim replaces one that was only heard from others, not the other way round")
  func hearsay() {
    var table = ClaimTable()
    let (liar, holder) = (KernelID(2), KernelID(3))
    let share = DirectoryLimits.claimsOfOneMax
    #expect(tell(&table, 200, "a", of: KernelID(9), from: liar) == share)
    // It has used up its share for other hosts' claims, but its own claims replace those.
    #expect(tell(&table, 200, "b", of: liar, from: liar) == share)
    #expect(tell(&table, 200, "d", of: KernelID(9), from: liar) == 0)
    for number in 10..<20 as Range<UInt32> {
      _ = tell(&table, 200, "c\(number)/", of: KernelID(9), from: KernelID(number))
    }
    #expect(tell(&table, 30, "e", of: holder, from: holder) == 30)
    #expect(table.place(of: Array("e0".utf8)) != .unknown)
    // From now on the claim counts as heard from its own host.
    #expect(
      table.merge(Self.claim("c19/0", of: KernelID(9)), from: holder, at: Self.now, Self.wall)
        == .refused)
    let known = Self.claim("b0", of: liar)
    #expect(table.merge(known, from: holder, at: Self.now, Self.wall) == .known)
  }

  @Test("a full table has room for a new claim when a host has been silent for 90 s, not before")
  func away() {
    var table = ClaimTable()
    let share = DirectoryLimits.claimsOfOneMax
    let silent = KernelID(2)
    #expect(tell(&table, share, "a", of: silent, from: silent) == share)
    let later = Self.now + .seconds(30)
    for number in 3..<10 as Range<UInt32> {
      _ = tell(
        &table, share, "b\(number)/", of: KernelID(number), from: KernelID(number), at: later)
    }
    let new = Self.claim("src", of: KernelID(20))
    func merge(after span: TimeSpan) -> ClaimTable.Outcome {
      table.merge(new, from: KernelID(20), at: Self.now + span, Self.wall)
    }
    #expect(merge(after: .seconds(30)) == .refused)
    #expect(merge(after: .milliseconds(89_999)) == .refused)
    #expect(merge(after: .seconds(90)) == .news(replaced: nil))
    // The present claims of other hosts have all stayed.
    #expect(table.place(of: Array("b3/0".utf8)) != .unknown)
    #expect(
      table.components(below: []).filter { $0.component.starts(with: Array("a".utf8)) }.count
        == share - 1)
  }

  @Test("a clock a day ahead is not believed, and one at the end of its range spoils no name")
  func clocks() {
    var table = ClaimTable()
    let (own, liar) = (KernelID(1), KernelID(2))
    let day = UInt64(ClaimTable.aheadMax.nanoseconds)
    func merge(_ clock: UInt64, of kernel: KernelID, from teller: KernelID?, _ wall: Int64)
      -> ClaimTable.Outcome
    {
      table.merge(
        Self.claim("src", of: kernel, host: "h\(kernel.rawValue)", clock: clock), from: teller,
        at: Self.now, wall)
    }
    let latest = UInt64(Self.wall) + day
    for clock in [latest + 1, .max / 2, .max - 1, .max] {
      #expect(merge(clock, of: liar, from: liar, Self.wall) == .refused)
    }
    #expect(table.place(of: Array("src".utf8)) == .unknown)
    #expect(merge(latest, of: liar, from: liar, Self.wall) == .news(replaced: nil))
    // Whoever claims after that still gets the prefix.
    #expect(table.tick(Self.wall) == latest + 1)
    let holder = merge(latest + 1, of: own, from: nil, Self.wall + 1)
    #expect(holder == .news(replaced: Self.claim("src", of: liar, host: "h2", clock: latest)))
    // The clock of this host was a year ahead, and is set back: claims of that year do not last.
    let year = 365 * Int64(day)
    let late = UInt64(Self.wall + year)
    #expect(merge(late, of: liar, from: liar, Self.wall + year) != .refused)
    #expect(merge(latest + 9, of: own, from: own, Self.wall + 9) != .refused)
    #expect(table.tick(Self.wall + 9) == latest + 10)
  }

  @Test("a full share has room again when its claims are withdrawn")
  func withdrawn() {
    var table = ClaimTable()
    let kernel = KernelID(2)
    #expect(tell(&table, 200, "a", of: kernel, from: kernel) == DirectoryLimits.claimsOfOneMax)
    let gone = Self.claim("a5", of: kernel, clock: 2, state: .withdrawn)
    #expect(table.merge(gone, from: kernel, at: Self.now, Self.wall) != .refused)
    #expect(tell(&table, 3, "b", of: kernel, from: kernel) == 1)
    #expect(table.place(of: Array("a5".utf8)) == .unknown)
  }
}

@Suite("Names known to be absent, as a value")
struct AbsentNamesTests {
  private let eve = Principal(user: "eve", host: "kea")
  private let ann = Principal(user: "ann", host: "kea")

  private func name(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test("endless questions of one user drop no names of others")
  func flood() {
    var names = AbsentNames(ownHost: "kea")
    let (start, end) = (Time(nanoseconds: 0), Time(nanoseconds: 5))
    names.insert(name("src"), askedBy: ann, until: end, at: start)
    for number in 0..<5000 {
      names.insert(name("e\(number)"), askedBy: eve, until: end, at: start)
    }
    #expect(names.contains(name("src"), at: start))
    #expect(names.count == DirectoryLimits.absentMax / 4 + 1)
    names.insert(name("doc"), askedBy: ann, until: end, at: start)
    #expect(names.contains(name("doc"), at: start))
    #expect(!names.contains(name("src"), at: end))
    // Expired names make room.
    names.insert(name("late"), askedBy: eve, until: Time(nanoseconds: 9), at: end)
    #expect(names.contains(name("late"), at: end) && names.count == 1)
  }

  @Test("names above and below a new prefix are asked for again, and no others")
  func claimed() {
    var names = AbsentNames(ownHost: "kea")
    let (start, end) = (Time(nanoseconds: 0), Time(nanoseconds: 5))
    for text in ["src", "src/a/b", "sr", "src2", "doc"] {
      names.insert(name(text), askedBy: eve, until: end, at: start)
    }
    names.removeAll(around: name("src/a"))
    let left = ["src", "src/a/b", "sr", "src2", "doc"].filter {
      names.contains(name($0), at: start)
    }
    #expect(left == ["sr", "src2", "doc"])
  }
}
