package import VProtocol

/// One pipe as a value: its ends, its blocks, and who waits for what.
///
/// A change is made, then `serve` answers everybody who need not wait any more. A block is what one
/// write wrote; it leaves the pipe only in an answer to a reader.
package struct Pipe: Sendable {
  package struct Ends: OptionSet, Sendable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let reads = Ends(rawValue: 1)
    package static let writes = Ends(rawValue: 2)
  }

  /// A request that has not been answered, by its board's count.
  package typealias Wait = UInt64

  package enum Outcome: Equatable, Sendable {
    case opened(InstanceID)
    case read([UInt8])
    case written(Int)
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
    /// What is left of a block of which a read wanted less.
    var rest: [UInt8] = []
  }

  struct Opening: Sendable {
    var wait: Wait
    var ends: Ends
  }

  struct Reading: Sendable {
    var wait: Wait
    var instance: InstanceID
    var count: Int
  }

  struct Writing: Sendable {
    var wait: Wait
    var instance: InstanceID
    var data: [UInt8]
  }

  var instances: [InstanceID: Instance] = [:]
  package internal(set) var readerCount = 0
  package internal(set) var writerCount = 0
  package internal(set) var blocks: [[UInt8]] = []
  var byteCount = 0
  /// Who made the pipe by writing to it waits for the first reader with its first write.
  package internal(set) var hadReader = false
  /// All of them for the same end.
  var openings: [Opening] = []
  var readings: [Reading] = []
  var writings: [Writing] = []

  /// What a pipe of Linux holds.
  package static let bytesMax = 65_536
  /// Blocks cost more than their octets.
  package static let blocksMax = 1024

  /// Requests that wait to open, to read and to write.
  package var waitCounts: (opening: Int, reading: Int, writing: Int) {
    (openings.count, readings.count, writings.count)
  }
  var isUnused: Bool { instances.isEmpty && openings.isEmpty }
}

// MARK: - Changes

extension Pipe {
  /// Whether an instance with these ends need not wait for the other one.
  func isComplete(_ ends: Ends) -> Bool {
    switch ends {
    case .reads: writerCount > 0 || openings.contains { $0.ends == .writes }
    case .writes: readerCount > 0 || openings.contains { $0.ends == .reads }
    default: true
    }
  }

  mutating func add(_ identifier: InstanceID, _ ends: Ends, isNonBlocking: Bool) {
    instances[identifier] = Instance(ends: ends, isNonBlocking: isNonBlocking)
    if ends.contains(.reads) {
      readerCount += 1
      hadReader = true
    }
    if ends.contains(.writes) { writerCount += 1 }
  }

  /// Takes the openings that wait for what was opened with `ends`.
  mutating func takeOpenings(for ends: Ends) -> [Opening] {
    let ready = openings.filter { $0.ends != ends }
    openings.removeAll { $0.ends != ends }
    return ready
  }

  /// Ends an instance and what waits through it; the rest of a block goes back to the others.
  mutating func remove(_ identifier: InstanceID) -> [Action] {
    guard let instance = instances.removeValue(forKey: identifier) else { return [] }
    let waits =
      readings.filter { $0.instance == identifier }.map(\.wait)
      + writings.filter { $0.instance == identifier }.map(\.wait)
    readings.removeAll { $0.instance == identifier }
    writings.removeAll { $0.instance == identifier }
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

  /// Ends a wait without its having had any effect; false if it is not there.
  mutating func cancel(_ wait: Wait) -> Bool {
    let before = openings.count + readings.count + writings.count
    openings.removeAll { $0.wait == wait }
    readings.removeAll { $0.wait == wait }
    writings.removeAll { $0.wait == wait }
    return openings.count + readings.count + writings.count < before
  }
}

// MARK: - Serving

extension Pipe {
  /// Answers whoever need not wait any more.
  mutating func serve() -> [Action] {
    var actions: [Action] = []
    var served = -1
    while served < actions.count {
      served = actions.count
      takeBlocks(&actions)
      giveBlocks(&actions)
    }
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
    blocks.isEmpty || (byteCount + count <= Self.bytesMax && blocks.count < Self.blocksMax)
  }

  private mutating func giveBlocks(_ actions: inout [Action]) {
    var index = 0
    while index < readings.count {
      let reading = readings[index]
      guard let block = takeBlock(for: reading.instance) else {
        index += 1
        continue
      }
      instances[reading.instance]?.rest = Array(block.dropFirst(reading.count))
      readings.remove(at: index)
      actions.append(
        Action(wait: reading.wait, outcome: .read(Array(block.prefix(reading.count)))))
    }
  }

  /// What is there for a reader: nothing at the end, nil as long as more may come.
  private mutating func takeBlock(for identifier: InstanceID) -> [UInt8]? {
    if let rest = instances[identifier]?.rest, !rest.isEmpty { return rest }
    guard !blocks.isEmpty else { return writerCount == 0 ? [] : nil }
    let block = blocks.removeFirst()
    byteCount -= block.count
    return block
  }
}
