/// The operations of program managers: interface 0x0015.
extension EntityID {
  /// The program managers of all hosts.
  public static let programManagerGroup = EntityID(
    group: 0x15, low: 0xE000_0100, isUnrestricted: false)
}

/// Asks program managers for a host to run a program on: each one answers that would start a
/// program of that class for the client's principal; the others are silent.
public struct SelectHost: Operation {
  public enum Class: UInt32, Sendable {
    case foreground = 1
    case background, guest
  }

  public static let code: UInt32 = 0x001501
  public static let isIdempotent = true

  public var programClass: Class
  /// Hosts that must not answer.
  public var excluded: [String]
  public init(_ programClass: Class, excluded: [String] = []) {
    self.programClass = programClass
    self.excluded = excluded
  }
  public init(parsing message: Message) throws(WireError) {
    guard let programClass = Class(rawValue: message.mcb[3]),
      message.mcb[4] <= Self.excludedMax
    else { throw .badField(.operation) }
    self.init(programClass)
    var reader = SegmentReader(message.segment)
    for _ in 0..<message.mcb[4] { excluded.append(try reader.text()) }
  }
  public var message: Message {
    var writer = SegmentWriter()
    for host in excluded { writer.text(host) }
    return Message(
      Self.request.word(3, programClass.rawValue).word(4, UInt32(excluded.count)),
      segment: writer.bytes)
  }

  public static let excludedMax = 64

  public struct Answer: OperationAnswer {
    /// The manager of that host's programs.
    public var server: EntityID
    /// Programs that want the processor, plus the load of the host's system, times 1,000.
    public var loadThousandths: UInt32
    public var host: String

    public init(server: EntityID, loadThousandths: UInt32, host: String) {
      self.server = server
      self.loadThousandths = loadThousandths
      self.host = host
    }
    public init(parsing message: Message) throws(WireError) {
      server = EntityID(rawValue: message.mcb.pair(1))
      loadThousandths = message.mcb[3]
      host = try message.text()
    }
    public var message: Message {
      Message(
        Self.answer.pair(1, server.rawValue).word(3, loadThousandths), segment: Array(host.utf8))
    }
  }
}

/// Carries out a line on a program, as if it were written to the program's `ctl`.
///
/// Sent to the program managers' group, it reaches the one manager that is on the program's host.
public struct ControlTeam: Operation {
  public static let code: UInt32 = 0x001502

  public var program: EntityID
  public var line: String
  public init(_ program: EntityID, _ line: String) {
    self.program = program
    self.line = line
  }
  public init(parsing message: Message) throws(WireError) {
    self.init(EntityID(rawValue: message.mcb.pair(3)), try message.text())
    guard program.isValid else { throw .invalidEntity }
  }
  public var message: Message {
    Message(Self.request(near: program).pair(3, program.rawValue), segment: Array(line.utf8))
  }
}

/// Asks for the names of a program: those of the host where it is now, and its own name there.
///
/// Sent to the program managers' group, it reaches the one manager that is on the program's host.
public struct QueryTeam: Operation {
  public static let code: UInt32 = 0x001503
  public static let isIdempotent = true
  /// The context beside those of the hosts in `team`: its names are entities, and links to where
  /// they are.
  public static let linksName = "by-id"

  public var program: EntityID
  public init(_ program: EntityID) { self.program = program }
  public init(parsing message: Message) throws(WireError) {
    self.init(EntityID(rawValue: message.mcb.pair(3)))
    guard program.isValid else { throw .invalidEntity }
  }
  public var message: Message {
    Message(Self.request(near: program).pair(3, program.rawValue))
  }

  public struct Answer: OperationAnswer {
    public var host: String
    /// `NUMBER.PROGRAM`.
    public var name: Name

    public init(host: String, name: Name) { (self.host, self.name) = (host, name) }
    public init(parsing message: Message) throws(WireError) {
      var reader = SegmentReader(message.segment)
      host = try reader.text()
      name = Name(try reader.octets(reader.remaining))
    }
    public var message: Message {
      var writer = SegmentWriter()
      writer.text(host)
      writer.octets(name.octets)
      return Message(Self.answer, segment: writer.bytes)
    }
  }
}
