import Glibc
import NetworkFaults

/// An ethernet switch: frames go to the port where their address was seen last, else to all.
///
/// The fault engine decides the faults of each frame on its way from one port to another.
struct Switch {
  /// A frame that is on its way.
  private struct Waiting {
    var arrival: UInt64
    var target: Int
    var frame: [UInt8]
  }

  var engine: FaultEngine
  var ports: [Int: Port] = [:]
  private var places: [UInt64: Int] = [:]
  /// Sorted by arrival; equal arrivals in the order of departure.
  private var waiting: [Waiting] = []
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 8)

  /// Frames read from one port before the others have their turn.
  private static let framesAtOnceMax = 64
  /// The two ethernet addresses and the type.
  private static let headerBytes = 14

  init(seed: UInt64) { engine = FaultEngine(seed: seed) }

  /// Waits until a port or the descriptor `control` is readable, moves frames, and returns whether
  /// `control` is.
  mutating func turn(control: Int32) -> Bool {
    let numbers = Array(ports.keys)
    var entries = numbers.map {
      pollfd(fd: ports[$0]!.descriptor, events: Int16(POLLIN), revents: 0)
    }
    entries.append(pollfd(fd: control, events: Int16(POLLIN), revents: 0))
    poll(&entries, nfds_t(entries.count), millisecondsToWait())
    for (number, entry) in zip(numbers, entries) where entry.revents != 0 {
      takeFrames(from: number)
    }
    deliverDue()
    return entries.last!.revents != 0
  }

  private mutating func takeFrames(from number: Int) {
    guard let port = ports[number] else { return }
    for _ in 0..<Self.framesAtOnceMax {
      guard let size = port.read(into: buffer) else {
        ports[number] = nil
        return
      }
      guard size >= Self.headerBytes else { return }
      if port.isPlugged { pass(UnsafeRawBufferPointer(rebasing: buffer[..<size]), from: number) }
    }
  }

  private mutating func pass(_ frame: UnsafeRawBufferPointer, from source: Int) {
    places[address(in: frame, at: 6)] = source
    // A group's address is never a source.
    if let target = places[address(in: frame, at: 0)] {
      if target != source { pass(frame, from: source, to: target) }
    } else {
      for target in ports.keys.sorted() where target != source {
        pass(frame, from: source, to: target)
      }
    }
  }

  private mutating func pass(_ frame: UnsafeRawBufferPointer, from source: Int, to target: Int) {
    for delay in engine.delays(from: source, to: target) {
      guard delay > 0 else {
        ports[target]?.write(frame)
        continue
      }
      let arrival = Self.now() + delay
      let later = waiting.lastIndex { $0.arrival <= arrival }.map { $0 + 1 } ?? 0
      waiting.insert(Waiting(arrival: arrival, target: target, frame: Array(frame)), at: later)
    }
  }

  private mutating func deliverDue() {
    guard !waiting.isEmpty else { return }
    let now = Self.now()
    let due = waiting.prefix { $0.arrival <= now }
    for item in due { item.frame.withUnsafeBytes { ports[item.target]?.write($0) } }
    waiting.removeFirst(due.count)
  }

  /// Rounded up: a delay may be up to 1 ms longer.
  private func millisecondsToWait() -> Int32 {
    guard let next = waiting.first?.arrival else { return -1 }
    let now = Self.now()
    return next <= now ? 0 : Int32((next - now + 999_999) / 1_000_000)
  }

  private func address(in frame: UnsafeRawBufferPointer, at offset: Int) -> UInt64 {
    frame[offset..<offset + 6].reduce(0) { $0 << 8 | UInt64($1) }
  }

  private static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
