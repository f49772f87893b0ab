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
    /// The name of its host, if its kernel has said it.
    public var host: String?

    public init(
      kernel: KernelID, locator: String, age: TimeSpan, roundTrip: TimeSpan?, isSilent: Bool,
      host: String? = nil
    ) {
      self.kernel = kernel
      self.locator = locator
      self.age = age
      self.roundTrip = roundTrip
      self.isSilent = isSilent
      self.host = host
    }
  }

  /// Packets from one place that were not V, for one reason.
  public struct Rejected: Sendable {
    public var source: String
    public var reason: String
    public var count: Int
    /// Since the last one.
    public var age: TimeSpan

    public init(source: String, reason: String, count: Int, age: TimeSpan) {
      self.source = source
      self.reason = reason
      self.count = count
      self.age = age
    }
  }

  /// The node has the cluster key: without one it speaks with no other.
  public var isSealing: Bool
  /// Where the kernel is that has this host's name in the place of this node's.
  public var nameHolder: String?
  /// What the kernel has counted since it started, in the order of the report.
  public var counters: [(name: String, count: Int)]
  public var rejected: [Rejected]
  /// Addresses that get one by one what is sent to groups.
  public var configuredPeers: [String] = []
  /// Processor time of the node's process since its start.
  public var cpu: TimeSpan?
  /// Nil where no process can attach.
  public var attached: Attached?
  /// The most recently heard first.
  public var peers: [Peer]

  public init(
    isSealing: Bool, nameHolder: String? = nil, counters: [(name: String, count: Int)],
    rejected: [Rejected], attached: Attached?, peers: [Peer]
  ) {
    self.isSealing = isSealing
    self.nameHolder = nameHolder
    self.counters = counters
    self.rejected = rejected
    self.attached = attached
    self.peers = peers
  }
}
