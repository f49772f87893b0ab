/// The faults of a network, each probability in percent.
public struct Faults: Equatable, Sendable {
  /// The largest additional delay of a packet that takes a detour.
  public static let detourNanosecondsMax: UInt64 = 5_000_000

  public var loss: Int
  public var duplication: Int
  /// Packets that take a detour, so that later ones overtake them.
  public var reordering: Int
  /// The additional delay of every packet.
  public var delayNanoseconds: UInt64

  public init(
    loss: Int = 0, duplication: Int = 0, reordering: Int = 0, delayNanoseconds: UInt64 = 0
  ) {
    self.loss = loss
    self.duplication = duplication
    self.reordering = reordering
    self.delayNanoseconds = delayNanoseconds
  }
}

/// Decides the faults of packets, in the simulated network and in the lab's switch alike.
///
/// Hosts are numbers. What becomes of the n-th packet from one host to another, counted since the
/// faults were changed last, follows from the seed, the two hosts, n and the faults; not from the
/// time, nor from what others send. So a run can be repeated as far as its packets are the same.
public struct FaultEngine: Sendable {
  /// One direction between two hosts.
  struct Link: Hashable {
    var source: Int
    var target: Int
  }

  public let seed: UInt64
  /// The faults of every packet.
  public var everywhere = Faults() { didSet { counts = [:] } }
  /// Additional faults of the packets to and from a host.
  public private(set) var hosts: [Int: Faults] = [:]
  /// Pairs that do not hear each other, the smaller number first.
  public private(set) var partitions: Set<[Int]> = []
  /// Pairs of which the second does not hear the first.
  public private(set) var oneWayLosses: Set<[Int]> = []
  /// How many packets from a host are still to be lost.
  public private(set) var drops: [Int: Int] = [:]
  public private(set) var packetsSeen = 0
  public private(set) var packetsLost = 0
  private var counts: [Link: UInt64] = [:]

  public init(seed: UInt64) { self.seed = seed }

  public mutating func setFaults(_ faults: Faults, of host: Int) {
    hosts[host] = faults == Faults() ? nil : faults
    counts = [:]
  }

  /// Loses the next `count` packets from `host`; a packet to many hosts counts for each of them.
  public mutating func drop(_ count: Int, from host: Int) { drops[host] = count > 0 ? count : nil }

  public mutating func partition(_ one: Int, _ other: Int) {
    partitions.insert([min(one, other), max(one, other)])
  }

  /// From now on `target` does not hear `source`, which may still hear it.
  public mutating func loseAll(from source: Int, to target: Int) {
    oneWayLosses.insert([source, target])
  }

  /// Ends all partitions, and losses of one direction.
  public mutating func heal() { (partitions, oneWayLosses) = ([], []) }

  /// The additional delay in nanoseconds of each copy of the next packet from `source` to `target`.
  ///
  /// A lost packet has no copy.
  public mutating func delays(from source: Int, to target: Int) -> [UInt64] {
    packetsSeen += 1
    let delays = decide(Link(source: source, target: target))
    if delays.isEmpty { packetsLost += 1 }
    return delays
  }

  /// The result in a network without faults.
  private static let none: [UInt64] = [0]

  private mutating func decide(_ link: Link) -> [UInt64] {
    let ends = [min(link.source, link.target), max(link.source, link.target)]
    if !partitions.isEmpty && partitions.contains(ends) { return [] }
    if !oneWayLosses.isEmpty && oneWayLosses.contains([link.source, link.target]) { return [] }
    if let left = drops[link.source] {
      drop(left - 1, from: link.source)
      return []
    }
    let all = [everywhere, hosts[link.source] ?? Faults(), hosts[link.target] ?? Faults()]
    guard all.contains(where: { $0 != Faults() }) else { return Self.none }
    let number = counts[link, default: 0]
    counts[link] = number + 1
    var random = generator(for: link, number)
    func happens(_ percent: Int) -> Bool { random.next() % 100 < percent }
    var delays = Self.none
    for faults in all {
      if happens(faults.loss) { return [] }
      if happens(faults.duplication) { delays += delays }
      for copy in delays.indices {
        delays[copy] += faults.delayNanoseconds
        if happens(faults.reordering) {
          delays[copy] += random.next() % Faults.detourNanosecondsMax
        }
      }
    }
    return delays
  }

  private func generator(for link: Link, _ number: UInt64) -> SeededGenerator {
    var mixed = seed
    for word in [UInt64(link.source), UInt64(link.target), number] {
      var generator = SeededGenerator(seed: mixed ^ word)
      mixed = generator.next()
    }
    return SeededGenerator(seed: mixed)
  }
}
