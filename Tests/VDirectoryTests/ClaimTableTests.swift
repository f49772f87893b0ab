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
    #expect(tell(&table, 200, "a", of: KernelID(2), from: KernelID(2)) == share)
    let beyond = Self.claim("b", of: KernelID(2))
    #expect(
      table.merge(beyond, from: KernelID(2), at: Self.now, Self.wall) == .noRoom(.shareOfHost))
    // Nor does it get more by taking prefixes over, or by telling others to tell of it.
    #expect(tell(&table, 1, "c", of: KernelID(3), from: KernelID(3)) == 1)
    let newer = Self.claim("c0", of: KernelID(2), clock: 9)
    #expect(
      table.merge(newer, from: KernelID(2), at: Self.now, Self.wall) == .noRoom(.shareOfHost))
    #expect(tell(&table, 9, "d", of: KernelID(2), from: KernelID(4)) == 0)
    var taken = share + 1
    for number in 5..<200 as Range<UInt32> {
      let kernel = KernelID(number)
      taken += tell(&table, 100, "e\(number)/", of: kernel, from: kernel)
    }
    #expect(taken == Claim.claimsMax - share)
    let late = Self.claim("late", of: KernelID(300))
    #expect(table.merge(late, from: KernelID(300), at: Self.now, Self.wall) == .noRoom(.table))
    #expect(tell(&table, 200, "own", of: Self.own, from: nil) == share)
    let more = Self.claim("more", of: Self.own)
    #expect(table.merge(more, from: nil, at: Self.now, Self.wall) == .noRoom(.shareOfHost))
    #expect(table.components(below: []).contains { $0.component == Array("a0".utf8) })
    #expect(table.claims.count == Claim.claimsMax)
  }

  @Test("a host's own claim replaces one that was only heard from others, not the other way round")
  func hearsay() {
    var table = ClaimTable()
    // Two liars tell of kernels that are not there, as much as they may, until the table is full.
    var told = 0
    for (liar, front) in [(KernelID(2), "a"), (KernelID(3), "b")] {
      var count = 0
      for number in 1000..<1100 as Range<UInt32> {
        let other = KernelID(number + (front == "a" ? 0 : 1000))
        count += tell(&table, 60, "\(front)\(number)/", of: other, from: liar)
      }
      #expect(count <= DirectoryLimits.hearsayOfOneMax)
      told += count
    }
    #expect(told == Claim.claimsMax - DirectoryLimits.claimsOfOneMax)
    let holder = KernelID(9)
    #expect(tell(&table, 1, "h", of: KernelID(5000), from: holder) == 0)
    #expect(tell(&table, 30, "e", of: holder, from: holder) == 30)
    #expect(table.place(of: Array("e0".utf8)) != .unknown)
    let known = Self.claim("e0", of: holder)
    #expect(table.merge(known, from: KernelID(2), at: Self.now, Self.wall) == .known)
  }

  @Test("what was heard from one kernel only is nobody's share once its own host has told it")
  func confirmed() {
    var table = ClaimTable()
    let teller = KernelID(2)
    for round in 0..<3 as Range<UInt32> {
      for number in 0..<60 as Range<UInt32> {
        let kernel = KernelID(100 + round * 60 + number)
        // Three times as much in all as it may tell at once.
        #expect(tell(&table, 36, "a\(round)/\(number)/", of: kernel, from: teller) == 36)
      }
      for number in 0..<60 as Range<UInt32> {
        let kernel = KernelID(100 + round * 60 + number)
        #expect(tell(&table, 36, "a\(round)/\(number)/", of: kernel, from: kernel) == 0)
      }
    }
    #expect(table.claims.count == 3 * 60 * 36)
  }

  @Test("a full table has room for a new claim when a host has been silent for 90 s, not before")
  func away() {
    var table = ClaimTable()
    let share = DirectoryLimits.claimsOfOneMax
    let silent = KernelID(2)
    #expect(tell(&table, share, "a", of: silent, from: silent) == share)
    let later = Self.now + .seconds(30)
    for number in 3..<200 as Range<UInt32> {
      _ = tell(
        &table, share, "b\(number)/", of: KernelID(number), from: KernelID(number), at: later)
    }
    let new = Self.claim("src", of: KernelID(220))
    func merge(after span: TimeSpan) -> ClaimTable.Outcome {
      table.merge(new, from: KernelID(220), at: Self.now + span, Self.wall)
    }
    #expect(merge(after: .seconds(30)) == .noRoom(.table))
    #expect(merge(after: .milliseconds(89_999)) == .noRoom(.table))
    #expect(merge(after: .seconds(90)) == .news(replaced: nil))
    // The present claims of other hosts have all stayed.
    #expect(table.place(of: Array("b3/0".utf8)) != .unknown)
    #expect(
      table.components(below: []).filter { $0.component.starts(with: Array("a".utf8)) }.count
        == share - 1)
  }

  @Test("a name is found in the table like by a look at every claim", arguments: [1, 2, 3])
  func places(seed: UInt64) {
    var table = ClaimTable()
    var random = seed
    func next(_ bound: UInt64) -> UInt64 {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (random >> 33) % bound
    }
    func name() -> String {
      (0...next(3)).map { _ in ["a", "b", "ab"][Int(next(3))] }.joined(separator: "/")
    }
    for clock in 1...400 as ClosedRange<UInt64> {
      let kernel = KernelID(UInt32(2 + next(4)))
      let state: Claim.State = next(3) == 0 ? .withdrawn : .present
      _ = table.merge(
        Self.claim(name(), of: kernel, clock: clock, state: state), from: kernel, at: Self.now,
        Self.wall)
      let asked = Array(name().utf8)
      let listed = table.claims.filter { $0.state == .present }
      let best = listed.filter { leads($0.prefix, to: asked) }.max {
        $0.prefix.count < $1.prefix.count
      }
      let expected: ClaimTable.Place =
        if let best {
          .claimed(best, prefixBytes: best.prefix.count)
        } else {
          listed.contains { leads(asked, to: $0.prefix) } ? .shared : .unknown
        }
      #expect(table.place(of: asked) == expected, "\(seed)")
      var digest = ClaimDigest()
      for claim in table.claims { digest.add(claim) }
      #expect(table.digest == digest)
    }
  }

  private func leads(_ front: [UInt8], to name: [UInt8]) -> Bool {
    name == front || name.starts(with: front + [0x2F])
  }

  @Test("the claims of some buckets come in parts, each once")
  func parts() {
    var table = ClaimTable()
    for number in 2..<100 as Range<UInt32> {
      let kernel = KernelID(number)
      _ = tell(&table, 30, "some/long/prefix/\(number)/", of: kernel, from: kernel)
    }
    let buckets: UInt64 = 0x0F0F_0F0F_0F0F_0F0F
    var claims: [Claim] = []
    var (start, answers) = (UInt64(0), 0)
    repeat {
      let answer = table.answer(QueryClaims(buckets, from: start))
      #expect(answer.message.segment.count <= Message.segmentBytesMax)
      claims += answer.claims
      start = answer.next
      answers += 1
    } while start != 0 && answers < 100
    #expect(answers > 3)
    #expect(claims == table.claims.filter { buckets >> UInt64($0.bucket) & 1 == 1 })
    #expect(table.answer(QueryClaims(.max, from: .max)).claims.isEmpty)
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
    // And by which a prefix of another kernel is taken over.
    let other = Self.claim("c", of: KernelID(3))
    _ = table.merge(other, from: KernelID(3), at: Self.now, Self.wall)
    let newer = Self.claim("c", of: kernel, clock: 9)
    #expect(table.merge(newer, from: kernel, at: Self.now, Self.wall) == .noRoom(.shareOfHost))
    let next = Self.claim("a6", of: kernel, clock: 2, state: .withdrawn)
    _ = table.merge(next, from: kernel, at: Self.now, Self.wall)
    #expect(
      table.merge(newer, from: kernel, at: Self.now, Self.wall) == .news(replaced: other))
    #expect(table.place(of: Array("a6".utf8)) == .unknown)
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
