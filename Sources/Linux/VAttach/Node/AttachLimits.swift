/// The limits of processes on a node's socket, each with its reason.
///
/// All processes of a user have one share together, and so have all users without a name. The
/// node's owner, root with all of its rights, has only the limits of one process.
public struct AttachLimits: Sendable {
  /// Attached at once: each costs a descriptor and its buffers.
  ///
  /// A user has a quarter, 128; an eighth is kept for root (`Shares`).
  public var processes = 512
  /// Connections that wait for the table of users to name their user, shared in the same way by
  /// user number: a slow table makes no user wait longer for others.
  public var unnamed = 512

  /// As many transactions as one program has under way; a server can answer any number with one
  /// client.
  public var entitiesOfProcess = 1024
  /// An ordinary user's program has a few servers, not hundreds.
  public var serversOfProcess = 64
  /// Groups of one server; a kernel allows no more.
  public var groupsOfServer = 16
  /// Unanswered requests to one process, each with a client that waits.
  ///
  /// A user of its servers has a quarter of them (`Shares`), which is more than the waits that any
  /// server allows a user.
  public var requestsOfProcess = 8192
  /// A member of a group need not answer, so only the newest requests to groups are remembered.
  public var groupRequestsOfProcess = 256

  /// Of one user, over all of its processes: as many as eight busy programs have.
  public var entitiesOfUser = 8192
  /// Each can get requests from everybody.
  public var serversOfUser = 256
  /// With each membership, every message to the group is delivered once more.
  public var membershipsOfUser = 64
  /// Some 300 octets each: 2.5 MB.
  public var requestsOfUser = 8192
  /// Entity numbers that a user may take at once, and then in each second: 28 bits suffice for
  /// 149,000 a second (`EntityNumbers`), so that thirty users at full speed take nothing from
  /// others, and 64 programs may start at once.
  public var numbersAtOnce = 65_536
  public var numbersPerSecond = 4096

  /// Requests for servers of a process that it has not read: further ones are answered BUSY, and so
  /// is a user who has a quarter of the octets.
  public var requestFrames = 4096
  public var requestOctets = 4 << 20
  /// The room for unread answers: two for each of its clients.
  var frames: Int { requestFrames + 2 * entitiesOfProcess }
  public var octets = 36 << 20
  /// For one user, over all of its processes: one of them may be as slow as it can.
  public var octetsOfUser = 48 << 20
  /// When this many octets waited for a process, the memory is returned to the machine after it
  /// ends.
  public var octetsWorthTrimming = 1 << 20
  /// The cost of a frame besides its octets.
  public var frameOverhead = 256
  /// Frames that are sent and still kept.
  public var sentFrames = 2048

  /// Connections accepted before other events of the node get their turn.
  public var connectionsOfTurn = 32
  /// Frames carried out for one user before others get their turn: some milliseconds.
  public var framesOfTurn = 256

  public init() {}
}
