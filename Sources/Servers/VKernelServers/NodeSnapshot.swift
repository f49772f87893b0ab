public import VProtocol

/// The state of a node at one moment, for its node server.
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
    /// Its address, for people.
    public var locator: String
    /// Since its last valid packet.
    public var age: TimeSpan
    /// How long its manager takes to answer; nil before the first sample.
    public var roundTrip: TimeSpan?
    /// Whether it owes an answer and is silent.
    public var isSilent: Bool
    /// Whether it is silent although packets of it are heard: it does not hear this host.
    public var isDeaf: Bool
    /// The name of its host, if known.
    public var host: String?

    public init(
      kernel: KernelID, locator: String, age: TimeSpan, roundTrip: TimeSpan?, isSilent: Bool,
      isDeaf: Bool = false, host: String? = nil
    ) {
      self.kernel = kernel
      self.locator = locator
      self.age = age
      self.roundTrip = roundTrip
      self.isSilent = isSilent
      self.isDeaf = isDeaf
      self.host = host
    }
  }

  /// Packets from one address that were refused for one reason.
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

  /// Whether the node has the cluster key: without one it has no network.
  public var isSealing: Bool
  /// The address of the kernel that has this host's name instead of this node's.
  public var nameHolder: String?
  /// The kernel's counters since its start, in the order of the report.
  public var counters: [(name: String, count: Int)]
  public var rejected: [Rejected]
  /// Addresses that get each multicast by unicast.
  public var configuredPeers: [String] = []
  /// Processor time of the node's process since its start.
  public var cpu: TimeSpan?
  /// Nil if no process can attach.
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
