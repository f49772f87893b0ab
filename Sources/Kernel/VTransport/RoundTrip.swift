public import VProtocol

/// How long a peer kernel takes to answer: the network, and its servers, kept apart.
///
/// Samples are unambiguous because an answer repeats the retransmit count of what it answers.
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

  /// A response: network and service together.
  public mutating func addResponseSample(_ sample: TimeSpan) {
    guard let old = smoothed, sample >= old else { return addNetworkSample(sample) }
    let excess = sample.nanoseconds - old.nanoseconds
    service = TimeSpan(nanoseconds: service.nanoseconds + (excess - service.nanoseconds) / 8)
  }

  /// When to repeat something that a manager answers at once.
  public var retransmission: TimeSpan {
    guard let smoothed else { return Timing.beforeAnySample }
    return min(max(smoothed + variation * 4, Timing.retransmissionFloor), Timing.retransmissionCap)
  }

  /// When to repeat a request that a server works on.
  public var firstRetransmission: TimeSpan {
    min(retransmission + service * 2, Timing.pingCap)
  }
}

/// The timers of RFC 1045, section 8, with today's values.
public enum Timing {
  /// A link's round trip is far below; 1 % of loss must not cost 1988's 200 ms.
  public static let retransmissionFloor = TimeSpan.milliseconds(1)
  /// Repetitions stay close enough for many of them to fit into `silence`.
  public static let retransmissionCap = TimeSpan.milliseconds(100)
  /// A group of which all answers are wanted is asked again after so long, then twice as long.
  public static let collection = TimeSpan.milliseconds(10)
  public static let beforeAnySample = TimeSpan.milliseconds(50)
  /// TC1 doubles up to this while the server says that it is working.
  public static let pingCap = TimeSpan.milliseconds(500)
  /// A peer kernel that sent nothing valid for so long is silent.
  public static let silence = TimeSpan.seconds(2)
  /// How often a silent kernel is asked for a sign of life: a host that is back is found back
  /// before 2 s have passed, the loss of one packet included.
  public static let signInterval = TimeSpan.milliseconds(800)
  /// A block is missing although a later one came.
  public static let hole = TimeSpan.microseconds(250)
  /// The rest of a group is late.
  public static let reception = TimeSpan.milliseconds(1)
  /// TS5: how long a response is kept before the client is asked whether it came.
  public static let responseCheck = TimeSpan.seconds(5)
  /// TS4: how long the record of a client is kept after its response was acknowledged.
  public static let recordKept = TimeSpan.seconds(5)
  /// TS2: a request of a kernel that has been silent for so long is an orphan.
  public static let orphan = TimeSpan.seconds(10)
}
