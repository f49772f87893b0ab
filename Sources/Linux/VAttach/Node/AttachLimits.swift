/// What processes on a node's socket may use up, each number with its reason.
///
/// Processes of a user are one payer together, and all users without a name are one. Who owns the
/// node, root with all of its rights, is held to what one process may have, and to no share.
public struct AttachLimits: Sendable {
  /// Attached at once: each costs a descriptor and its buffers.
  ///
  /// A user has a quarter, 128; an eighth is kept for root (`Shares`).
  public var processes = 512
  /// Connections that wait for the table of users to name their user, shared in the same way by
  /// number: a slow table makes nobody wait longer for others.
  public var unnamed = 512

  /// As many transactions as one program has under way; a board serves any number with one.
  public var entitiesOfProcess = 1024
  /// A program of an ordinary user is a server in a few ways, not in hundreds.
  public var serversOfProcess = 64
  /// Groups of one server; a kernel allows no more.
  public var groupsOfServer = 16
  /// Requests that one process has not answered, each a client that waits; a user who asks it has a
  /// quarter of them (`Shares`), which is more than the waits that any board allows a user.
  public var requestsOfProcess = 8192
  /// A member of a group need not answer, so only the newest requests to groups are remembered.
  public var groupRequestsOfProcess = 256

  /// Of one user, over all of its processes: as many as eight busy programs have.
  public var entitiesOfUser = 8192
  /// Each may be asked by everybody.
  public var serversOfUser = 256
  /// Each is a message more for every one to the group.
  public var membershipsOfUser = 64
  /// Some 300 octets each: 2.5 MB.
  public var requestsOfUser = 8192
  /// Numbers of entities that a user may use up at once, and afterwards in a second: 28 bits last
  /// for 149,000 a second (`EntityNumbers`), so that thirty users at full speed take nothing away
  /// from others, and 64 programs may start at once.
  public var numbersAtOnce = 65_536
  public var numbersPerSecond = 4096

  /// Requests for servers of a process that has not read them: more are told BUSY, and so is a user
  /// who has a quarter of the octets.
  public var requestFrames = 4096
  public var requestOctets = 4 << 20
  /// Answers that it has not read may be as many as its clients, and as many again.
  var frames: Int { requestFrames + 2 * entitiesOfProcess }
  public var octets = 36 << 20
  /// Of one user, over all of its processes: one of them may be as slow as it can.
  public var octetsOfUser = 48 << 20
  /// When so many of them waited for a process, the memory is given back to the machine after it.
  public var octetsWorthTrimming = 1 << 20
  /// What a frame costs besides its octets.
  public var frameOverhead = 256
  /// Frames that are sent and still kept.
  public var sentFrames = 2048

  /// Connections taken before other events of the node get their turn.
  public var connectionsOfTurn = 32
  /// Frames carried out for one user before others get their turn: some milliseconds.
  public var framesOfTurn = 256

  public init() {}
}
