/// One entry of the table of claims on prefixes: Lampson's global directory, of which every node
/// has a copy.
///
/// ```
/// 0  record length 2 | state 2 | 4 context 8 | 12 manager 8 | 20 clock 8 | prefix, host as text
/// ```
public struct Claim: Equatable, Sendable {
  /// An `away` claim has lost its manager, but not its host; a `forgotten` one was away for long,
  /// or was removed by root of some host.
  public enum State: UInt16, Sendable {
    case present = 1
    case withdrawn, away, forgotten
  }

  public var prefix: [UInt8]
  public var manager: EntityID
  public var context: ContextID
  public var host: String
  /// Nanoseconds since 1970 by the claimant's clock, but never less than any clock it has seen.
  public var clock: UInt64
  public var state: State

  public init(
    prefix: [UInt8], manager: EntityID, context: ContextID, host: String, clock: UInt64,
    state: State
  ) {
    self.prefix = prefix
    self.manager = manager
    self.context = context
    self.host = host
    self.clock = clock
    self.state = state
  }

  public init(parsing reader: inout SegmentReader) throws(WireError) {
    var rest: [UInt8] = []
    try self.init(parsing: &reader, rest: &rest)
  }

  /// The same; `rest` is what the record has behind the host.
  public init(parsing reader: inout SegmentReader, rest: inout [UInt8]) throws(WireError) {
    let start = reader.position
    let length = Int(try reader.integer(UInt16.self))
    guard let state = State(rawValue: try reader.integer()) else { throw .badField(.claim) }
    self.state = state
    context = ContextID(rawValue: try reader.integer())
    manager = EntityID(rawValue: try reader.integer())
    clock = try reader.integer()
    prefix = try reader.octets(Int(try reader.integer(UInt16.self)))
    host = try reader.text()
    guard Self.isPrefix(prefix), Principal.isName(host), host.utf8.count <= Self.hostBytesMax,
      manager.isValid, !manager.isGroup, reader.position <= start + length
    else { throw .badField(.claim) }
    rest = try reader.octets(start + length - reader.position)
  }

  /// `rest` follows the host; readers of other versions skip it.
  public func emit(into writer: inout SegmentWriter, rest: [UInt8] = []) {
    writer.integer(UInt16(byteCount + rest.count))
    writer.integer(state.rawValue)
    writer.integer(context.rawValue)
    writer.integer(manager.rawValue)
    writer.integer(clock)
    writer.integer(UInt16(prefix.count))
    writer.octets(prefix)
    writer.text(host)
    writer.octets(rest)
  }

  /// Whether it is in listings and names lead to it.
  public var isListed: Bool { state == .present || state == .away }

  public var byteCount: Int { 32 + prefix.count + host.utf8.count }

  /// Whether this one overrides another one on the same prefix; of two claims, one does.
  public func isNewer(than other: Claim) -> Bool {
    (clock, host, manager.rawValue) > (other.clock, other.host, other.manager.rawValue)
  }

  /// Components between single slashes, none empty and none that starts with a dot: a name with a
  /// dot in front never costs a question to the group.
  public static func isPrefix(_ name: [UInt8]) -> Bool {
    let slash = UInt8(ascii: "/")
    let parts = name.split(separator: slash, omittingEmptySubsequences: false)
    return name.count <= prefixBytesMax
      && parts.allSatisfy { !$0.isEmpty && $0.first != UInt8(ascii: ".") && !$0.contains(0) }
  }

  public static let prefixBytesMax = 255
  public static let hostBytesMax = 64
  /// Claims of one cluster: four of each of 1,000 hosts, and as many again.
  public static let claimsMax = 8192
}

extension EntityID {
  /// Discriminator 3 of every kernel is its directory, whose context 1 is the root of all names.
  public static let directoryDiscriminator: UInt32 = 3
}

/// Tells this node's directory that a manager answers for a prefix.
///
/// `duplicateName` while another present claim on it stands and its manager answers.
public struct ClaimName: Operation {
  public static let code: UInt32 = 0x00100B
  public static let isIdempotent = true

  public var name: ContextName
  public var context: ContextID
  public var manager: EntityID
  /// It gives way to any later claim of its own host, although its manager answers.
  public var yields: Bool

  public init(prefix: [UInt8], context: ContextID, manager: EntityID, yields: Bool = false) {
    name = ContextName(.none, prefix)
    self.context = context
    self.manager = manager
    self.yields = yields
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    var reader = name.readerBehindName(message)
    context = ContextID(rawValue: try reader.integer())
    manager = EntityID(rawValue: message.mcb.pair(4))
    yields = message.mcb[6] & 1 != 0
    guard Claim.isPrefix(name.name) else { throw .badField(.claim) }
  }
  public var message: Message {
    var writer = SegmentWriter(reserving: 8)
    writer.integer(context.rawValue)
    let mcb = Self.request.pair(4, manager.rawValue).word(6, yields ? 1 : 0)
    return name.message(mcb, more: writer.bytes)
  }
}

/// Removes a prefix from the tables of all hosts, when its own manager stops serving it, or when a
/// manager that is away left it behind.
///
/// With `host/NAME` it removes all claims of the host NAME. `inUse` while its manager answers.
public struct ForgetName: Operation {
  public static let code: UInt32 = 0x001010
  public static let isIdempotent = true

  public var name: ContextName
  /// The manager of this host that gives up its claim; `none` forgets another manager's.
  public var manager: EntityID

  public init(prefix: [UInt8], manager: EntityID = .none) {
    name = ContextName(.none, prefix)
    self.manager = manager
  }
  public init(parsing message: Message) throws(WireError) {
    name = try ContextName(parsing: message)
    manager = EntityID(rawValue: message.mcb.pair(4))
    guard Claim.isPrefix(name.name) else { throw .badField(.claim) }
  }
  public var message: Message { name.message(Self.request.pair(4, manager.rawValue)) }
}
