public import VProtocol

/// How long a peer kernel takes to answer, separately for the network and its servers.
///
/// Samples are unambiguous because an answer repeats the retransmit count of its request.
public struct RoundTrip: Equatable, Sendable {
  public private(set) var smoothed: TimeSpan?
  private var variation = TimeSpan(nanoseconds: 0)
  private var service = TimeSpan(nanoseconds: 0)

  public init() {}

  /// An answer that a manager gave at once (probe, acknowledgement).
  public mutating func addNetworkSample(_ sample: TimeSpan) {
    guard let old = smoothed else {
      smoothed = sample
      variation = TimeSpan(nanoseconds: sample.nanoseconds / 2)
      return
    }
    let error = sample.nanoseconds - old.nanoseconds
    smoothed = TimeSpan(nanoseconds: old.nanoseconds + error / 8)
    variation = TimeSpan(
      nanoseconds: variation.nanoseconds + (abs(error) - variation.nanoseconds) / 4)
  }

  /// A response: the time of network and server together.
  public mutating func addResponseSample(_ sample: TimeSpan) {
    guard let old = smoothed, sample >= old else { return addNetworkSample(sample) }
    let excess = sample.nanoseconds - old.nanoseconds
    service = TimeSpan(nanoseconds: service.nanoseconds + (excess - service.nanoseconds) / 8)
  }

  /// When to repeat a request that a manager answers at once.
  public var retransmission: TimeSpan {
    guard let smoothed else { return Timing.beforeAnySample }
    return min(max(smoothed + variation * 4, Timing.retransmissionFloor), Timing.retransmissionCap)
  }

  /// When to repeat a request to a server.
  public var firstRetransmission: TimeSpan {
    min(retransmission + service * 2, Timing.pingCap)
  }
}

/// The timers of RFC 1045, section 8, with today's values.
public enum Timing {
  /// A link's round trip is far shorter; 1 % of loss must not cost the 200 ms of 1988.
  public static let retransmissionFloor = TimeSpan.milliseconds(1)
  /// Repetitions stay close enough for many of them to fit into `silence`.
  public static let retransmissionCap = TimeSpan.milliseconds(100)
  /// When a group is asked again; then the time doubles.
  ///
  /// Nobody says that there is no answer, so who asks for a name gives up soon: by then it has
  /// asked five times.
  public static let collection = TimeSpan.milliseconds(10)
  public static let collectionCap = TimeSpan.milliseconds(500)
  /// Other kernels from which on the answers of a group are spread: fewer answers than that have
  /// room at their client, and it would wait for nothing.
  public static let crowd = 8
  /// D of RFC 1045 2.13: over how long the answers of a group are spread, if so many kernels may
  /// answer: 1 ms for each, but at least 10 ms, and at most 40 ms, because some who collect answers
  /// wait for no more than 50 ms.
  public static func spread(kernels: Int) -> TimeSpan {
    .milliseconds(Int64(min(max(kernels, 10), 40)))
  }
  public static let beforeAnySample = TimeSpan.milliseconds(50)
  /// TC1 doubles up to this while the server answers that it is working.
  public static let pingCap = TimeSpan.milliseconds(500)
  /// A peer kernel is silent if it has answered nothing for this long although it was asked.
  public static let silence = TimeSpan.seconds(2)
  /// A timer that comes later than this shows that the host slept, or the node was stopped.
  public static let late = TimeSpan.milliseconds(500)
  /// A kernel that was heard, but not by multicast for this long, does not get multicasts: a
  /// directory sends one every 30 s, and two in a row may be lost.
  public static let multicast = TimeSpan.seconds(75)
  /// One that was not heard at all for this long is not there: it has had several copies, and would
  /// have sent some too.
  public static let copied = TimeSpan.seconds(300)
  /// A kernel that was heard at its place so lately is not looked for elsewhere.
  public static let placed = TimeSpan.seconds(1)
  /// When, and how often, all networks are asked for a kernel that owes an answer: more than
  /// `pingCap`, at which one at work is asked.
  public static let search = TimeSpan.milliseconds(800)
  /// The same for one that is silent, and may never come back.
  public static let slowSearch = TimeSpan.seconds(5)
  /// How long all kernels are asked for an entity whose kernel has ended, and how long it is then
  /// taken to be nowhere: most servers end with their kernel.
  public static let absence = TimeSpan.milliseconds(200)
  public static let absenceKept = TimeSpan.seconds(5)
  /// The time after the first probe of a kernel that may not be at its place; it doubles, so that a
  /// busy machine has time enough to answer one of them.
  public static let doubt = TimeSpan.milliseconds(10)
  /// How soon reports are heeded again after a kernel has answered: anybody can forge them.
  public static let doubtInterval = TimeSpan.milliseconds(250)
  /// How often a silent kernel is asked for a sign of life at first: a host that is up again is
  /// found within 2 s, even if one packet is lost.
  public static let signInterval = TimeSpan.milliseconds(800)
  /// Asked for longer than this, it is asked more and more seldom, up to the cap.
  public static let signsAtFirst = TimeSpan.seconds(30)
  public static let signIntervalCap = TimeSpan.seconds(5)
  /// A kernel that was silent for a day is asked no more: if it comes back, it is heard.
  public static let signsEnd = TimeSpan.seconds(86_400)
  /// A block is missing although a later one came.
  public static let hole = TimeSpan.microseconds(250)
  /// The rest of a group is late.
  public static let reception = TimeSpan.milliseconds(1)
  /// TS5: how long a response is kept before the client is asked whether it came.
  public static let responseCheck = TimeSpan.seconds(5)
  /// TS4: how long the record of a client is kept after its response was acknowledged.
  public static let recordKept = TimeSpan.seconds(5)
  /// A client that has not exchanged anything with a kernel for this long begins its transaction
  /// there: by then its record may be gone.
  public static let idle = TimeSpan.seconds(5)
  /// How long the record of a transaction that was begun waits for its request: longer than `idle`,
  /// and longer than any answer to the client was under way.
  public static let begunKept = TimeSpan.seconds(10)
  /// How long the outcomes of a kernel's requests are kept for its successor: it restarts sooner.
  public static let outcomeKept = TimeSpan.seconds(30)
  /// TS2: the requests of a kernel that has been silent for this long are orphans.
  public static let orphan = TimeSpan.seconds(10)
}
