import VKernel
public import VProtocol
package import VRecording

/// A fresh kernel that the entries of a recording enter, at their times, and that must then want
/// the recorded actions.
///
/// It needs no network, no clock and no thread. Octets that are no recording are a `Failure`, and
/// so are entries that no node makes.
public struct Replay: ~Copyable {
  /// The first difference, or the first record that cannot be read.
  public struct Failure: Error, CustomStringConvertible {
    /// The number of the record; the first is 1.
    public let record: Int
    public let time: Time
    public let reason: String

    public var description: String { "record \(record), at \(time.nanoseconds) ns: \(reason)" }
  }

  private var reader: SegmentReader
  private var kernel: Kernel
  private var step = Step()
  private let version: UInt8
  /// The record that was read last, and its number.
  private var last: KernelRecord
  public private(set) var count = 1

  public var now: Time { step.now }

  public init(_ recording: [UInt8]) throws(Failure) {
    var reader = SegmentReader(recording)
    let start: Start
    do throws(WireError) {
      start = try Start(&reader)
    } catch {
      throw Failure(
        record: 1, time: Time(nanoseconds: 0), reason: "no recording of this format: \(error)")
    }
    self.reader = reader
    kernel = Kernel(
      id: start.kernel, host: start.host, entropy: start.entropy, startedAt: start.startedAt)
    (version, last, step.now) = (start.version, start.record, start.time)
  }

  /// How the kernel is made.
  private struct Start {
    let record: KernelRecord
    let time: Time
    let kernel: KernelID
    let host: String
    let entropy: UInt64
    let startedAt: UInt64
    let version: UInt8

    init(_ reader: inout SegmentReader) throws(WireError) {
      (record, time) = try KernelRecord.parse(&reader)
      var numbers = Numbers(record)
      guard record.kind == .start, try numbers.next() == UInt64(KernelRecord.format),
        Replay.times.contains(time)
      else { throw .badField(.operation) }
      kernel = try numbers.kernel()
      host = String(decoding: record.octets, as: UTF8.self)
      (entropy, startedAt) = (try numbers.next(), try numbers.next())
      version = UInt8(truncatingIfNeeded: try numbers.next())
    }
  }

  /// Goes on by one record and returns it; nil after the last one, whose actions may be missing.
  package mutating func next() throws(Failure) -> KernelRecord? {
    guard reader.remaining > 0 else { return nil }
    let (record, time) = try read()
    if record.isAction {
      let own = step.popFirst().map { KernelRecord($0) }
      guard own == record else {
        throw failure("recorded: \(record.text), replayed: \(own?.text ?? "nothing")")
      }
    } else {
      // Packets that arrive together enter together.
      if record.kind != .packet || last.kind != .packet || time != now { try endEntry() }
      step.now = time
      do throws(WireError) {
        try enter(record)
      } catch {
        throw failure("no node does that (\(error)): \(record.text)")
      }
    }
    last = record
    return record
  }

  private mutating func read() throws(Failure) -> (KernelRecord, Time) {
    count += 1
    do throws(WireError) {
      let (record, time) = try KernelRecord.parse(&reader)
      guard (now...Self.times.upperBound).contains(time) else { throw .badField(.operation) }
      return (record, time)
    } catch {
      throw failure("not to be read: \(error)")
    }
  }

  /// All that the kernel wants must have been recorded.
  private mutating func endEntry() throws(Failure) {
    guard let action = step.popFirst() else { return }
    throw failure("before it, recorded: nothing, replayed: \(KernelRecord(action).text)")
  }

  private func failure(_ reason: String) -> Failure {
    Failure(record: count, time: now, reason: reason)
  }

  private mutating func enter(_ record: KernelRecord) throws(WireError) {
    var numbers = Numbers(record)
    switch record.kind {
    case .announce: kernel.announce(&step)
    case .timers: kernel.handleTimers(&step)
    case .peers:
      var places: [Locator] = []
      while !numbers.isEmpty { places.append(try numbers.locator()) }
      kernel.setPeers(places)
    case .packet:
      let (locator, sender) = (try numbers.locator(), try numbers.kernel())
      let packet = record.octets.span.bytes
      let header = try PacketHeader(
        parsing: packet, bodyBytes: packet.byteCount, version: version)
      kernel.handlePacket(
        packet, header, from: locator, sender: sender.rawValue == 0 ? nil : sender,
        isMulticast: try numbers.next() == 1, &step)
    case .unopened:
      kernel.handleUnopened(from: try numbers.kernel(), at: try numbers.locator(), &step)
    case .unreachable: kernel.handleUnreachable(at: try numbers.locator(), &step)
    case .client, .server: try make(record, &numbers)
    case .retire: kernel.retire(try numbers.entity(), &step)
    case .join:
      let (server, group) = (try numbers.entity(), try numbers.entity())
      guard group.isGroup else { throw .invalidEntity }
      kernel.join(server, group: group)
    case .send, .datagram: try send(record, &numbers)
    case .reply:
      let request = try numbers.request()
      kernel.reply(try numbers.message(record.octets), to: request, &step)
    case .forward:
      let (request, target) = (try numbers.request(), try numbers.entity())
      kernel.forward(request, try numbers.message(record.octets), to: target, &step)
    case .start, .transmit, .invoke, .respond, .complete, .nameHolder:
      throw .badField(.operation)
    }
  }

  /// An entity is made, with the recorded number.
  private mutating func make(
    _ record: KernelRecord, _ numbers: inout Numbers
  ) throws(WireError) {
    let recorded = try numbers.entity()
    let made: EntityID
    if record.kind == .client {
      let marks = Principal.Marks(rawValue: UInt32(truncatingIfNeeded: try numbers.next()))
      made = kernel.makeClient(
        user: String(decoding: record.octets, as: UTF8.self), marks: marks,
        priority: try numbers.priority())
    } else {
      let kind: ServerKind = try numbers.next() == 1 ? .atMostOnce : .idempotent
      let wellKnown = try numbers.next()
      guard wellKnown == 0 || 2..<16 ~= wellKnown && kernel.entityStatus(of: recorded).isEmpty
      else { throw .invalidEntity }
      made = kernel.makeServer(kind, discriminator: wellKnown == 0 ? nil : UInt32(wellKnown))
    }
    guard made == recorded else { throw .invalidEntity }
  }

  /// A client that has no transaction starts one.
  private mutating func send(
    _ record: KernelRecord, _ numbers: inout Numbers
  ) throws(WireError) {
    let (client, server) = (try numbers.entity(), try numbers.entity())
    guard kernel.entityStatus(of: client).first?.awaits == EntityID.none else {
      throw .invalidEntity
    }
    if record.kind == .datagram {
      return kernel.sendDatagram(
        try numbers.message(record.octets), from: client, to: server, &step)
    }
    let nanoseconds = try numbers.next()
    let limit =
      nanoseconds == .max ? nil : TimeSpan(nanoseconds: Int64(bitPattern: nanoseconds))
    let (collects, spreads) = (try numbers.next() == 1, try numbers.next() == 1)
    let priority = try numbers.priority()
    let message = try numbers.message(record.octets)
    let century = Self.times.upperBound.nanoseconds
    guard limit.map({ (-century...century).contains($0.nanoseconds) }) ?? !collects else {
      throw .badField(.operation)
    }
    kernel.send(
      message, from: client, to: server, limit: limit, collects: collects, spreads: spreads,
      priority: priority, &step)
  }

  /// A century: no sum of times overflows.
  fileprivate static let times =
    Time(nanoseconds: 0)...Time(nanoseconds: 100 * 365 * 86_400 * 1_000_000_000)
}

/// The numbers of a record in order; too few are a `WireError`.
private struct Numbers {
  private var rest: ArraySlice<UInt64>

  init(_ record: KernelRecord) { rest = record.numbers[...] }

  var isEmpty: Bool { rest.isEmpty }

  mutating func next() throws(WireError) -> UInt64 {
    guard let number = rest.popFirst() else { throw .badLength }
    return number
  }

  mutating func entity() throws(WireError) -> EntityID { EntityID(rawValue: try next()) }

  mutating func kernel() throws(WireError) -> KernelID {
    KernelID(UInt32(truncatingIfNeeded: try next()))
  }

  mutating func priority() throws(WireError) -> Priority {
    Priority(bits: UInt8(truncatingIfNeeded: try next()))
  }

  mutating func locator() throws(WireError) -> Locator {
    let (high, low, rest) = (try next(), try next(), try next())
    return Locator(
      IPAddress(high: high, low: low, scope: UInt32(truncatingIfNeeded: rest >> 16)),
      port: UInt16(truncatingIfNeeded: rest))
  }

  private mutating func control() throws(WireError) -> MessageControlBlock {
    var mcb = MessageControlBlock()
    for pair in 0..<4 { mcb.setPair(2 * pair, try next()) }
    // The checksum of its segment.
    _ = try next()
    return mcb
  }

  mutating func message(_ segment: [UInt8]) throws(WireError) -> Message {
    guard segment.count <= Message.segmentBytesMax else { throw .badLength }
    let mcb = try control()
    let message = Message(mcb, segment: segment)
    guard message.mcb == mcb else { throw .badLength }
    return message
  }

  /// A request as its server has it, but for its segment and who asks.
  mutating func request() throws(WireError) -> Request {
    let (client, transaction) = (try entity(), UInt32(truncatingIfNeeded: try next()))
    let (addressee, server, forwardCount) = (try entity(), try entity(), try next())
    let (isLocal, priority) = (try next() == 1, try self.priority())
    var message = Message(MessageControlBlock())
    message.mcb = try control()
    return Request(
      client: client, transaction: TransactionID(transaction), addressee: addressee, server: server,
      forwardCount: UInt8(truncatingIfNeeded: forwardCount), message: message, principal: nil,
      isLocal: isLocal, priority: priority)
  }
}

extension KernelRecord {
  var isAction: Bool { kind.rawValue >= Kind.transmit.rawValue }

  /// Reads the next record and its time.
  static func parse(
    _ reader: inout SegmentReader
  ) throws(WireError) -> (record: KernelRecord, time: Time) {
    let count = Int(try reader.integer(UInt32.self))
    guard let kind = Kind(rawValue: try reader.integer()) else { throw .badField(.operation) }
    let numbersCount = Int(try reader.integer(UInt32.self))
    let time = Time(nanoseconds: try reader.integer())
    let octetsCount = count - fixedBytes - 8 * numbersCount
    guard octetsCount >= 0, reader.remaining >= count - fixedBytes else {
      throw .truncated(needed: count - fixedBytes, found: reader.remaining)
    }
    var numbers: [UInt64] = []
    for _ in 0..<numbersCount { numbers.append(try reader.integer()) }
    return (KernelRecord(kind, numbers, octets: try reader.octets(octetsCount)), time)
  }
}

extension KernelRecord {
  package var text: String {
    let hex = octets.prefix(64).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    return "\(kind) \(numbers.map { String($0, radix: 16) }.joined(separator: " ")) \(hex)"
      + (octets.count > 64 ? "... (\(octets.count) octets)" : "")
  }
}
