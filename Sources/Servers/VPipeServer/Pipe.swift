package import VProtocol

/// One pipe as a value: its ends, its blocks, and the requests that wait.
///
/// A change is made, then `serve` answers all requests that need not wait any more. A block is the
/// data of one write; it leaves the pipe only in an answer to a reader.
package struct Pipe: Sendable {
  package struct Ends: OptionSet, Sendable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let reads = Ends(rawValue: 1)
    package static let writes = Ends(rawValue: 2)
  }

  /// A request that has not been answered, by the server's own number, which is never used again.
  package typealias Wait = UInt64
  /// An open instance, by the wait that opened it: numbers of instances are not made here.
  package typealias End = Wait

  package enum Outcome: Equatable, Sendable {
    /// The end that the wait opened.
    case opened
    case read([UInt8])
    case written(Int)
    case ready(Readiness)
    case refused(ReplyCode)
  }

  /// The answer to a request.
  package struct Action: Equatable, Sendable {
    package var wait: Wait
    package var outcome: Outcome
  }

  struct Instance: Sendable {
    var ends: Ends
    var isNonBlocking: Bool
    /// How many writing ends came before those that it has seen.
    var writersBefore: Int
    /// What is left of a block of which a read wanted less.
    var rest: [UInt8] = []
  }

  struct Opening: Sendable {
    var wait: Wait
    var ends: Ends
  }

  struct Reading: Sendable {
    var wait: Wait
    var end: End
    var count: Int
  }

  struct Look: Sendable {
    var wait: Wait
    var end: End
    var wanted: Readiness
  }

  struct Writing: Sendable {
    var wait: Wait
    var end: End
    var data: [UInt8]
  }

  var instances: [End: Instance] = [:]
  package internal(set) var readerCount = 0
  package internal(set) var writerCount = 0
  /// Writing ends that there ever were.
  private var writersEver = 0
  package internal(set) var blocks: [[UInt8]] = []
  var byteCount = 0
  /// A writer that has just made the pipe waits for the first reader with its first write.
  package internal(set) var hadReader = false
  /// All of them for the same end.
  var openings: [Opening] = []
  var readings: [Reading] = []
  var writings: [Writing] = []
  var looks: [Look] = []

  /// Requests that wait to open, to read, to write, and for one of the last two to be possible.
  package var waitCounts: (opening: Int, reading: Int, writing: Int, looking: Int) {
    (openings.count, readings.count, writings.count, looks.count)
  }
  private var waitCount: Int { openings.count + readings.count + writings.count + looks.count }
  var isUnused: Bool { instances.isEmpty && openings.isEmpty }
}

// MARK: - Changes

extension Pipe {
  /// Whether an instance with these ends need not wait for the other end.
  func isComplete(_ ends: Ends) -> Bool {
    switch ends {
    case .reads: writerCount > 0 || openings.contains { $0.ends == .writes }
    case .writes: readerCount > 0 || openings.contains { $0.ends == .reads }
    default: true
    }
  }

  mutating func add(_ end: End, _ ends: Ends, isNonBlocking: Bool) {
    if ends.contains(.reads) {
      readerCount += 1
      hadReader = true
    }
    if ends.contains(.writes) {
      writerCount += 1
      writersEver += 1
    }
    instances[end] = Instance(
      ends: ends, isNonBlocking: isNonBlocking, writersBefore: writersEver - writerCount)
  }

  /// Removes the openings that wait for an instance with `ends`.
  mutating func takeOpenings(for ends: Ends) -> [Opening] {
    let ready = openings.filter { $0.ends != ends }
    openings.removeAll { $0.ends != ends }
    return ready
  }

  /// Ends an instance and its waits; the rest of a block returns to the pipe.
  mutating func remove(_ end: End) -> [Action] {
    guard let instance = instances.removeValue(forKey: end) else { return [] }
    let waits =
      readings.filter { $0.end == end }.map(\.wait)
      + writings.filter { $0.end == end }.map(\.wait)
      + looks.filter { $0.end == end }.map(\.wait)
    readings.removeAll { $0.end == end }
    writings.removeAll { $0.end == end }
    looks.removeAll { $0.end == end }
    if instance.ends.contains(.reads) { readerCount -= 1 }
    if instance.ends.contains(.writes) { writerCount -= 1 }
    if !instance.rest.isEmpty {
      blocks.insert(instance.rest, at: 0)
      byteCount += instance.rest.count
    }
    if readerCount == 0 && writerCount == 0 {
      blocks = []
      byteCount = 0
    }
    return waits.map { Action(wait: $0, outcome: .refused(.invalidFileID)) } + serve()
  }

  /// Ends a wait without any effect; false if it does not exist.
  mutating func cancel(_ wait: Wait) -> Bool {
    let before = waitCount
    openings.removeAll { $0.wait == wait }
    readings.removeAll { $0.wait == wait }
    writings.removeAll { $0.wait == wait }
    looks.removeAll { $0.wait == wait }
    return waitCount < before
  }
}

// MARK: - Serving

extension Pipe {
  /// Answers all requests that need not wait any more.
  mutating func serve() -> [Action] {
    var actions: [Action] = []
    var served = -1
    while served < actions.count {
      served = actions.count
      takeBlocks(&actions)
      giveBlocks(&actions)
    }
    tellReadiness(&actions)
    return actions
  }

  private mutating func takeBlocks(_ actions: inout [Action]) {
    guard readerCount > 0 else {
      guard hadReader else { return }
      actions += writings.map { Action(wait: $0.wait, outcome: .refused(.brokenPipe)) }
      writings = []
      return
    }
    while let next = writings.first, hasRoom(for: next.data.count) {
      writings.removeFirst()
      blocks.append(next.data)
      byteCount += next.data.count
      actions.append(Action(wait: next.wait, outcome: .written(next.data.count)))
    }
  }

  private func hasRoom(for count: Int) -> Bool {
    blocks.isEmpty
      || (byteCount + count <= PipeLimits.bytesMax && blocks.count < PipeLimits.blocksMax)
  }

  private mutating func giveBlocks(_ actions: inout [Action]) {
    var index = 0
    while index < readings.count {
      let reading = readings[index]
      guard let block = takeBlock(for: reading.end) else {
        index += 1
        continue
      }
      instances[reading.end]?.rest = Array(block.dropFirst(reading.count))
      readings.remove(at: index)
      actions.append(
        Action(wait: reading.wait, outcome: .read(Array(block.prefix(reading.count)))))
    }
  }

  /// The next block for a reader: no octets at the end, nil as long as more may come.
  private mutating func takeBlock(for end: End) -> [UInt8]? {
    if let rest = instances[end]?.rest, !rest.isEmpty { return rest }
    guard !blocks.isEmpty else { return writerCount == 0 ? [] : nil }
    let block = blocks.removeFirst()
    byteCount -= block.count
    return block
  }

  /// What an end can do without waiting for another one.
  ///
  /// To a reader that has not seen a writer yet its pipe has not ended, as it has not in Linux.
  package func readiness(of end: End) -> Readiness {
    guard let instance = instances[end] else { return [] }
    var ready: Readiness = []
    if instance.ends.contains(.reads) {
      if !instance.rest.isEmpty || !blocks.isEmpty {
        ready.insert(.readable)
      } else if writerCount == 0, writersEver > instance.writersBefore {
        ready.insert(.ended)
      }
    }
    if instance.ends.contains(.writes) {
      if readerCount > 0 {
        let isFree = writings.isEmpty && hasRoom(for: Message.segmentBytesMax)
        if isFree { ready.insert(.writeable) }
      } else if hadReader {
        ready.insert(.broken)
      }
    }
    return ready
  }

  private mutating func tellReadiness(_ actions: inout [Action]) {
    let met = looks.filter { readiness(of: $0.end).meets($0.wanted) }
    guard !met.isEmpty else { return }
    looks = looks.filter { !readiness(of: $0.end).meets($0.wanted) }
    actions += met.map { Action(wait: $0.wait, outcome: .ready(readiness(of: $0.end))) }
  }
}
