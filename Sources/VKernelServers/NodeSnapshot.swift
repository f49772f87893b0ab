public import VProtocol

/// How a node is at one moment, as its node server tells it.
public struct NodeSnapshot: Sendable {
  /// The processes at a node's local socket.
  public struct Attached: Sendable {
    public var count: Int
    /// How often connections ended, by reason.
    public var closings: [String: Int]

    public init(count: Int, closings: [String: Int]) {
      self.count = count
      self.closings = closings
    }
  }

  /// Another kernel, as this one sees it.
  public struct Peer: Sendable {
    public var kernel: KernelID
    /// Where it is, for people to read.
    public var locator: String
    /// Since its last valid packet.
    public var age: TimeSpan
    /// How long its manager takes to answer; nil before the first sample.
    public var roundTrip: TimeSpan?
    /// It owes an answer and has not been heard of for too long.
    public var isSilent: Bool

    public init(
      kernel: KernelID, locator: String, age: TimeSpan, roundTrip: TimeSpan?, isSilent: Bool
    ) {
      self.kernel = kernel
      self.locator = locator
      self.age = age
      self.roundTrip = roundTrip
      self.isSilent = isSilent
    }
  }

  /// Nothing leaves the node in clear.
  public var isSealing: Bool
  /// What the kernel has counted since it started, in the order of the report.
  public var counters: [(name: String, count: Int)]
  /// Packets that were not V, by kind.
  public var droppedPackets: [String: Int]
  /// Nil where no process can attach.
  public var attached: Attached?
  /// The most recently heard first.
  public var peers: [Peer]

  public init(
    isSealing: Bool, counters: [(name: String, count: Int)], droppedPackets: [String: Int],
    attached: Attached?, peers: [Peer]
  ) {
    self.isSealing = isSealing
    self.counters = counters
    self.droppedPackets = droppedPackets
    self.attached = attached
    self.peers = peers
  }
}
