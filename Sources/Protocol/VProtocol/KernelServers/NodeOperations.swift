/// The operations of a node's server: interface 0x0012.
///
/// Every node has it as discriminator 2 of its kernel and as a member of the node group. It keeps
/// no records of its clients; operations for this host's own processes are refused to others.
extension EntityID {
  /// The servers of all nodes.
  public static let nodeGroup = EntityID(group: 0x12, low: 0xE000_0100, isUnrestricted: true)
  /// Discriminators below 16 are well known; this one is the node's server.
  public static let nodeServerDiscriminator: UInt32 = 2

  /// The server of the node that runs `kernel`.
  public static func nodeServer(of kernel: KernelID) -> EntityID {
    EntityID(kernel: kernel, discriminator: nodeServerDiscriminator)
  }
}

/// The shortest message transaction: 32 octets in each direction, and nothing is done.
public struct PingNode: Operation {
  public static let code: UInt32 = 0x001201
  public static let isIdempotent = true

  public init() {}
  public init(parsing message: Message) throws(WireError) {}
  public var message: Message { Message(Self.request) }
}

/// Asks for the node of a host.
///
/// It is sent to the node group, and only the node with that host name answers; so a name leads to
/// a kernel without any table. With an empty name every node that is asked answers.
public struct FindNode: Operation {
  public static let code: UInt32 = 0x001202
  public static let isIdempotent = true

  public var host: String
  public init(host: String) { self.host = host }
  public init(parsing message: Message) throws(WireError) { host = try Self.hostName(message) }
  public var message: Message { Message(Self.request, segment: Array(host.utf8)) }

  public struct Answer: OperationAnswer {
    /// The node's.
    public var server: EntityID
    public var host: String
    /// Nanoseconds since 1970 on that host's clock.
    public var wallClock: Int64

    public init(server: EntityID, host: String, wallClock: Int64) {
      self.server = server
      self.host = host
      self.wallClock = wallClock
    }
    public init(parsing message: Message) throws(WireError) {
      server = EntityID(rawValue: message.mcb.pair(1))
      guard server.isValid else { throw .invalidEntity }
      host = try FindNode.hostName(message)
      wallClock = Int64(bitPattern: message.mcb.pair(3))
    }
    public var message: Message {
      Message(
        Self.answer.pair(1, server.rawValue).pair(3, UInt64(bitPattern: wallClock)),
        segment: Array(host.utf8))
    }
  }

  /// Longer than any host name of Linux.
  public static let hostBytesMax = 255

  fileprivate static func hostName(_ message: Message) throws(WireError) -> String {
    guard message.segment.count <= hostBytesMax else { throw .badField(.name) }
    return try message.text()
  }
}

/// Asks a node for its state.
public struct QueryNode: Operation {
  public static let code: UInt32 = 0x001203
  public static let isIdempotent = true

  public init() {}
  public init(parsing message: Message) throws(WireError) {}
  public var message: Message { Message(Self.request) }

  /// Lines of text, each a key and its values separated by single spaces.
  ///
  /// `-` stands for an unknown value. A reader skips lines with unknown keys.
  ///
  /// ```
  /// host NAME              kernel ID          address IP:PORT     sealing sealed|none
  /// name_holder IP:PORT    uptime_ms N        cpu_us N           attached N
  /// closed REASON N        counter NAME N     configured IP:PORT
  /// rejected IP:PORT N LAST_MS REASON
  /// peer KERNEL HOST IP:PORT HEARD_MS RTT_US alive|silent|deaf CLOCK_MS
  /// peers_left_out N
  /// ```
  public struct Answer: OperationAnswer {
    public var text: String
    public init(text: String) { self.text = text }
    public init(parsing message: Message) throws(WireError) { text = try message.text() }
    public var message: Message { Message(segment: Array(text.utf8)) }
  }
}

/// Measures the cost of octets: its segment is dropped, and the answer's has a wanted size.
public struct EchoSegment: Operation {
  public typealias Answer = Octets
  public static let code: UInt32 = 0x001205
  public static let isIdempotent = true

  /// The number of zeros in the answer.
  public var answerBytes: Int
  public var data: [UInt8]
  public init(answerBytes: Int, data: [UInt8]) {
    self.answerBytes = answerBytes
    self.data = data
  }
  public init(parsing message: Message) throws(WireError) {
    answerBytes = Int(message.mcb[3])
    data = message.segment
    guard answerBytes <= Message.segmentBytesMax else { throw .badField(.operation) }
  }
  public var message: Message {
    Message(Self.request.word(3, UInt32(answerBytes)), segment: data)
  }
}

/// Asks this host's node to time Sends, one after another, from inside its kernel: PingNode, or
/// EchoSegment if they carry octets.
public struct MeasureSends: Operation {
  public enum Target: Equatable, Sendable {
    /// The node of that host.
    case host(String)
    case entity(EntityID)
  }

  public static let code: UInt32 = 0x001204

  public var target: Target
  public var count: UInt32
  /// For all together.
  public var limitMilliseconds: UInt32
  /// Of the segment of each request, and of each answer.
  public var requestBytes = 0
  public var answerBytes = 0

  public init(target: Target, count: UInt32, limitMilliseconds: UInt32) {
    self.target = target
    self.count = count
    self.limitMilliseconds = limitMilliseconds
  }

  public init(parsing message: Message) throws(WireError) {
    let entity = EntityID(rawValue: message.mcb.pair(1))
    if entity.isValid {
      target = .entity(entity)
    } else {
      let host = try FindNode.hostName(message)
      guard !host.isEmpty else { throw .badField(.name) }
      target = .host(host)
    }
    count = message.mcb[3]
    limitMilliseconds = message.mcb[4]
    requestBytes = Int(message.mcb[5] >> 16)
    answerBytes = Int(message.mcb[5] & 0xFFFF)
    guard 1...Self.countMax ~= count, 1...Self.limitMillisecondsMax ~= limitMilliseconds,
      max(requestBytes, answerBytes) <= Message.segmentBytesMax
    else { throw .badField(.operation) }
  }

  public var message: Message {
    let mcb = Self.request.word(3, count).word(4, limitMilliseconds)
      .word(5, UInt32(requestBytes) << 16 | UInt32(answerBytes))
    return switch target {
    case .entity(let entity): Message(mcb.pair(1, entity.rawValue))
    case .host(let host): Message(mcb, segment: Array(host.utf8))
    }
  }

  /// Each sample is kept until the end: 400 KB.
  public static let countMax: UInt32 = 100_000
  /// One hour.
  public static let limitMillisecondsMax: UInt32 = 3_600_000

  /// Times in nanoseconds, over the Sends that were answered; zeros if none was.
  public struct Answer: OperationAnswer {
    /// Sends made.
    public var count: UInt32
    /// Those of them without an answer.
    public var lost: UInt32
    public var minimum: UInt32 = 0
    public var median: UInt32 = 0
    public var percentile99: UInt32 = 0
    public var maximum: UInt32 = 0
    /// What the last unanswered Send ended with.
    public var code: ReplyCode

    /// Sorts `samples` and computes the answer (nearest rank).
    public init(samples: inout [UInt32], lost: UInt32, code: ReplyCode) {
      count = UInt32(samples.count) + lost
      self.lost = lost
      self.code = code
      guard !samples.isEmpty else { return }
      samples.sort()
      minimum = samples[0]
      median = samples[(samples.count + 1) / 2 - 1]
      percentile99 = samples[(samples.count * 99 + 99) / 100 - 1]
      maximum = samples[samples.count - 1]
    }

    public init(parsing message: Message) throws(WireError) {
      count = message.mcb[1]
      lost = message.mcb[2]
      minimum = message.mcb[3]
      median = message.mcb[4]
      percentile99 = message.mcb[5]
      maximum = message.mcb[6]
      code = ReplyCode(rawValue: message.mcb[7])
      guard lost <= count else { throw .badField(.operation) }
    }

    public var message: Message {
      Message(
        Self.answer.word(1, count).word(2, lost).word(3, minimum).word(4, median)
          .word(5, percentile99).word(6, maximum).word(7, code.rawValue))
    }
  }
}
