import NetworkFaults
import Testing
import VPipeServer
import VProtocol

private let ann = Principal(user: "ann", host: "kea")

/// A pipe driven by random operations, and the conditions that must hold after each of them.
private struct Checked {
  enum Kind: Equatable {
    case open(Pipe.Ends)
    case read(Pipe.End, Int)
    case write(Pipe.End, [UInt8])
    case look(Pipe.End, Readiness)
  }

  var table = PipeTable(ownHost: "kea")
  var pipe: PipeTable.PipeID
  var waiting: [Pipe.Wait: Kind] = [:]
  var ends: [Pipe.End: Pipe.Ends] = [:]
  var lastWait: Pipe.Wait = 0
  var blocks: UInt32 = 0
  /// Octets of each block that was taken and has not been read.
  var inside: [UInt32: [UInt8]] = [:]
  var counts = (eof: 0, broken: 0, interrupted: 0, read: 0, refused: 0, ready: 0)

  init() {
    pipe = table.make([1], owner: "ann", maker: ann, permissions: 0, at: 0)!
  }

  /// Every four octets of a block have the block's number, and their distance from its start.
  mutating func block(_ words: Int) -> [UInt8] {
    blocks += 1
    var octets: [UInt8] = []
    for word in 0..<UInt32(words) {
      for value in [blocks, word] {
        octets.append(UInt8(truncatingIfNeeded: value >> 8))
        octets.append(UInt8(truncatingIfNeeded: value))
      }
    }
    return octets
  }

  mutating func begin(
    _ kind: Kind, _ change: (inout PipeTable, Pipe.Wait) -> [Pipe.Action]
  ) {
    lastWait += 1
    waiting[lastWait] = kind
    handle(change(&table, lastWait))
  }

  mutating func handle(_ actions: [Pipe.Action]) {
    for action in actions {
      guard let kind = waiting.removeValue(forKey: action.wait) else {
        Issue.record("\(action) is an answer to nothing, or a second one")
        continue
      }
      switch (kind, action.outcome) {
      case (.open(let ends), .opened): self.ends[action.wait] = ends
      case (.write(_, let data), .written(let count)):
        #expect(count == data.count)
        inside[Self.number(data)] = data
      case (.read(_, let count), .read(let data)): take(data, count)
      case (.look(_, let wanted), .ready(let ready)):
        #expect(ready.meets(wanted))
        counts.ready += 1
      case (_, .refused(let code)):
        if code == .brokenPipe {
          counts.broken += 1
          #expect(table[pipe]?.pipe.readerCount == 0)
        } else if code == .interrupted {
          counts.interrupted += 1
        } else {
          counts.refused += 1
        }
      default: Issue.record("\(kind) has \(action.outcome)")
      }
    }
  }

  static func number(_ data: [UInt8]) -> UInt32 { UInt32(data[0]) << 8 | UInt32(data[1]) }

  /// The octets read are the front of the rest of one block.
  private mutating func take(_ data: [UInt8], _ count: Int) {
    guard !data.isEmpty else {
      counts.eof += 1
      #expect(table[pipe]?.pipe.writerCount == 0 && table[pipe]?.pipe.blocks.isEmpty == true)
      return
    }
    counts.read += 1
    #expect(data.count <= count)
    let number = Self.number(data)
    guard let rest = inside[number], rest.starts(with: data) else {
      Issue.record("\(number) was not there, or not next")
      return
    }
    inside[number] = rest.count == data.count ? nil : Array(rest.dropFirst(data.count))
  }

  mutating func release(_ end: Pipe.End) {
    ends[end] = nil
    handle(table.release(end))
    if ends.isEmpty { inside = [:] }
  }

  /// No request waits that need not.
  func check(_ seed: UInt64) {
    guard let pipe = table[pipe]?.pipe else { return }
    let readers = ends.values.count { $0.contains(.reads) }
    let writers = ends.values.count { $0.contains(.writes) }
    #expect(pipe.readerCount == readers && pipe.writerCount == writers, "seed \(seed)")
    let waits = pipe.waitCounts
    let count = waits.opening + waits.reading + waits.writing + waits.looking
    #expect(count == waiting.count, "seed \(seed)")
    for kind in waiting.values {
      switch kind {
      case .open(let ends):
        #expect(ends == .reads ? writers == 0 : readers == 0, "seed \(seed)")
      case .read: #expect(pipe.blocks.isEmpty && writers > 0, "seed \(seed)")
      case .write:
        #expect(readers == 0 ? !pipe.hadReader : !pipe.blocks.isEmpty, "seed \(seed)")
      case .look(let end, let wanted):
        #expect(!pipe.readiness(of: end).meets(wanted), "seed \(seed)")
      }
    }
    // Beside written blocks there may be rests that readers gave back.
    #expect(pipe.blocks.joined().count <= PipeLimits.bytesMax + 8 * 16_384)
    #expect(inside.count >= pipe.blocks.count, "seed \(seed)")
  }
}

@Suite("A pipe as a value")
struct PipeTests {
  @Test(
    "any order of opening, reading, writing, closing and signals loses and doubles nothing")
  func model() {
    var sums = (eof: 0, broken: 0, interrupted: 0, read: 0, ready: 0)
    for seed in 0..<100 as Range<UInt64> {
      var generator = SeededGenerator(seed: seed)
      var checked = Checked()
      for _ in 0..<200 {
        step(&checked, &generator)
        checked.check(seed)
      }
      for wait in checked.waiting.keys { checked.handle(checked.table.cancel(wait, .interrupted)) }
      #expect(checked.waiting.isEmpty, "seed \(seed)")
      for instance in checked.ends.keys { checked.release(instance) }
      #expect(checked.table[checked.pipe]?.pipe.blocks.isEmpty == true)
      checked.handle(checked.table.remove(checked.pipe))
      #expect(checked.table[checked.pipe] == nil, "seed \(seed)")
      sums.eof += checked.counts.eof
      sums.broken += checked.counts.broken
      sums.interrupted += checked.counts.interrupted
      sums.read += checked.counts.read
      sums.ready += checked.counts.ready
    }
    #expect(sums.ready > 100)
    #expect(sums.eof > 100 && sums.broken > 100 && sums.interrupted > 100 && sums.read > 1000)
  }

  private func step(_ checked: inout Checked, _ generator: inout SeededGenerator) {
    let instance = checked.ends.keys.sorted().randomElement(using: &generator)
    let pipe = checked.pipe
    switch (UInt32.random(in: 0..<13, using: &generator), instance) {
    case (0, _), (_, nil):
      let ends: Pipe.Ends = [.reads, .writes, [.reads, .writes]].randomElement(using: &generator)!
      let isMaking = UInt32.random(in: 0..<8, using: &generator) == 0
      checked.begin(.open(ends)) { $0.open(pipe, ends, isMaking: isMaking, $1) }
    case (1...4, let instance?):
      guard checked.ends[instance]!.contains(.reads) else { return }
      let count = [4, 40, 16_384].randomElement(using: &generator)!
      checked.begin(.read(instance, count)) { $0.read(instance, count: count, $1) }
    case (5...9, let instance?):
      guard checked.ends[instance]!.contains(.writes) else { return }
      let block = checked.block([1, 10, 4096].randomElement(using: &generator)!)
      checked.begin(.write(instance, block)) { $0.write(instance, block, $1) }
    case (10, let instance?): checked.release(instance)
    case (11, let instance?):
      let wanted: Readiness = [.readable, .writeable, []].randomElement(using: &generator)!
      checked.begin(.look(instance, wanted)) { $0.look(instance, for: wanted, $1) }
      checkPromise(of: instance, &checked)
    default:
      guard let wait = checked.waiting.keys.sorted().randomElement(using: &generator) else {
        return
      }
      checked.handle(checked.table.cancel(wait, .interrupted))
    }
  }

  /// What a pipe says of an end is what a read or a write through it then finds.
  private func checkPromise(of end: Pipe.End, _ checked: inout Checked) {
    guard let ready = checked.table[checked.pipe]?.pipe.readiness(of: end),
      let ends = checked.ends[end]
    else { return }
    var copy = checked.table
    let wait: Pipe.Wait = .max
    if ends.contains(.reads) {
      let outcome = copy.read(end, count: 4, wait).first { $0.wait == wait }?.outcome
      switch outcome {
      case .read(let data)?: #expect(data.isEmpty || ready.contains(.readable))
      case nil: #expect(ready.isDisjoint(with: [.readable, .ended]))
      default: Issue.record("\(outcome!)")
      }
      if ready.contains(.ended) { #expect(outcome == .read([])) }
    }
    copy = checked.table
    guard ends.contains(.writes) else { return }
    let block = [UInt8](repeating: 1, count: Message.segmentBytesMax)
    let outcome = copy.write(end, block, wait).first { $0.wait == wait }?.outcome
    #expect((outcome == .written(block.count)) == ready.contains(.writeable))
    #expect((outcome == .refused(.brokenPipe)) == ready.contains(.broken))
  }

  private struct Driver {
    var table = PipeTable(ownHost: "kea")
    var pipe: PipeTable.PipeID
    var wait: Pipe.Wait = 0
    var outcomes: [Pipe.Wait: Pipe.Outcome] = [:]

    init() {
      pipe = table.make([1], owner: "ann", maker: ann, permissions: 0, at: 0)!
    }

    mutating func run(
      _ change: (inout PipeTable, Pipe.Wait) -> [Pipe.Action]
    ) -> Pipe.Wait {
      wait += 1
      for action in change(&table, wait) { outcomes[action.wait] = action.outcome }
      return wait
    }

    mutating func open(
      _ ends: Pipe.Ends, isMaking: Bool = false, isNonBlocking: Bool = false
    ) -> Pipe.Wait {
      let pipe = pipe
      return run { $0.open(pipe, ends, isMaking: isMaking, isNonBlocking: isNonBlocking, $1) }
    }

    mutating func opened(_ ends: Pipe.Ends, isMaking: Bool = false) throws -> Pipe.End {
      let wait = open(ends, isMaking: isMaking)
      return try #require(instance(wait))
    }

    func instance(_ wait: Pipe.Wait) -> Pipe.End? {
      outcomes[wait] == .opened ? wait : nil
    }
  }

  @Test("opening waits for the other end, unless told not to")
  func opening() throws {
    var driver = Driver()
    let reader = driver.open(.reads)
    #expect(driver.outcomes.isEmpty)
    let other = driver.open(.reads)
    #expect(driver.outcomes.isEmpty)
    let writer = driver.open(.writes)
    #expect(driver.outcomes.count == 3)
    for wait in [reader, other, writer] {
      let instance = try #require(driver.instance(wait))
      _ = driver.run { table, _ in table.release(instance) }
    }
    let refused = driver.open(.writes, isNonBlocking: true)
    #expect(driver.outcomes[refused] == .refused(.noDevice))
    let early = driver.open(.reads, isNonBlocking: true)
    let instance = try #require(driver.instance(early))
    let end = driver.run { $0.read(instance, count: 9, $1) }
    #expect(driver.outcomes[end] == .read([]))
    let late = driver.open(.writes, isNonBlocking: true)
    #expect(driver.instance(late) != nil)
    let empty = driver.run { $0.read(instance, count: 9, $1) }
    #expect(driver.outcomes[empty] == .refused(.wouldBlock))
    var removed = Driver()
    let forever = removed.open(.reads)
    _ = removed.run { [pipe = removed.pipe] table, _ in table.remove(pipe) }
    #expect(removed.outcomes[forever] == .refused(.notFound))
    #expect(removed.table[removed.pipe] == nil)
  }

  @Test("a writer that made its pipe waits with its first write for a reader")
  func making() throws {
    var driver = Driver()
    let instance = try driver.opened(.writes, isMaking: true)
    let write = driver.run { $0.write(instance, [1, 2, 3], $1) }
    #expect(driver.outcomes[write] == nil)
    let reader = try driver.opened(.reads)
    #expect(driver.outcomes[write] == .written(3))
    let part = driver.run { $0.read(reader, count: 2, $1) }
    #expect(driver.outcomes[part] == .read([1, 2]))
    // The rest goes back with its reader, and to the next read.
    let next = try driver.opened(.reads)
    _ = driver.run { table, _ in table.release(reader) }
    let rest = driver.run { $0.read(next, count: 20, $1) }
    #expect(driver.outcomes[rest] == .read([3]))
    _ = driver.run { table, _ in table.release(next) }
    let broken = driver.run { $0.write(instance, [1, 2, 3], $1) }
    #expect(driver.outcomes[broken] == .refused(.brokenPipe))
  }

  @Test("a pipe counts in its maker's share, whoever owns it, as long as it is open")
  func shares() throws {
    var table = PipeTable(ownHost: "kea")
    func make(_ number: Int, _ maker: Principal) -> PipeTable.PipeID? {
      table.make(
        Array("\(maker)\(number)".utf8), owner: "ann", maker: maker, permissions: 0, at: 0)
    }
    let own = (0..<PipeLimits.pipesMax).compactMap { make($0, ann) }
    #expect(own.count == PipeLimits.pipesMax / 4)
    // Each other user has a share, those of other hosts together a half.
    #expect(make(0, Principal(user: "bob", host: "kea")) != nil)
    let strangers = (0..<PipeLimits.pipesMax).compactMap {
      make($0, Principal(user: "u\($0)", host: "h\($0 % 9)"))
    }
    #expect(strangers.count == PipeLimits.pipesMax / 2)
    let root = Principal(user: "root", host: "kea", marks: .fullRoot)
    #expect(make(0, root) != nil)
    // A pipe without a name that is still open counts.
    #expect(table.open(own[0], .reads, isMaking: true, 1).map(\.outcome) == [.opened])
    table[own[0]]?.owner = "eve"
    #expect(table.remove(own[0]).isEmpty && make(PipeLimits.pipesMax, ann) == nil)
    #expect(table.takeGone().isEmpty)
    #expect(table.release(1).isEmpty && make(PipeLimits.pipesMax, ann) != nil)
    #expect(table.takeGone() == [own[0]] && table.takeGone().isEmpty)
  }
}
