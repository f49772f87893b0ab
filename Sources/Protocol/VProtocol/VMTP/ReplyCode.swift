/// The answer to a request in one word: an open set, so that a newer peer's code survives.
///
/// 0 to 63 are VMTP's (RFC 1045 appendix II); from 0x800000 on they are V's. Where V had one code
/// for several Linux errors, the distinctions that Linux programs act on have codes of their own.
public struct ReplyCode: Hashable, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public var isOK: Bool { self == .ok }

  public static let ok = ReplyCode(rawValue: 0)
  public static let retry = ReplyCode(rawValue: 1)
  public static let retryAll = ReplyCode(rawValue: 2)
  public static let busy = ReplyCode(rawValue: 3)
  public static let nonexistentEntity = ReplyCode(rawValue: 4)
  public static let entityMigrated = ReplyCode(rawValue: 5)
  public static let noPermission = ReplyCode(rawValue: 6)
  public static let notAwaitingMessage = ReplyCode(rawValue: 7)
  public static let vmtpError = ReplyCode(rawValue: 8)
  public static let transactionOverflow = ReplyCode(rawValue: 9)
  public static let badTransactionID = ReplyCode(rawValue: 10)
  public static let streamingNotSupported = ReplyCode(rawValue: 11)
  public static let noRunRecord = ReplyCode(rawValue: 12)
  public static let retransmissionTimeout = ReplyCode(rawValue: 13)
  public static let userTimeout = ReplyCode(rawValue: 14)
  public static let responseDiscarded = ReplyCode(rawValue: 15)
  public static let securityNotSupported = ReplyCode(rawValue: 16)
  public static let badReplySegment = ReplyCode(rawValue: 17)
  public static let securityRequired = ReplyCode(rawValue: 18)

  public static let endOfFile = ReplyCode(rawValue: 0x80_0001)
  public static let badByteCount = ReplyCode(rawValue: 0x80_0002)
  public static let badBlockNumber = ReplyCode(rawValue: 0x80_0003)
  public static let badArguments = ReplyCode(rawValue: 0x80_0004)
  public static let modeNotSupported = ReplyCode(rawValue: 0x80_0005)
  /// The object of an identifier is gone, even if its name is used again.
  public static let invalidFileID = ReplyCode(rawValue: 0x80_0006)
  public static let notReadable = ReplyCode(rawValue: 0x80_0007)
  public static let notWriteable = ReplyCode(rawValue: 0x80_0008)
  public static let notFound = ReplyCode(rawValue: 0x80_0009)
  /// A context that the manager no longer has: find it again by name.
  public static let invalidContext = ReplyCode(rawValue: 0x80_000A)
  public static let noServerResources = ReplyCode(rawValue: 0x80_000B)
  public static let noMemory = ReplyCode(rawValue: 0x80_000C)
  public static let duplicateName = ReplyCode(rawValue: 0x80_000D)
  public static let deviceError = ReplyCode(rawValue: 0x80_000E)
  public static let illegalRequest = ReplyCode(rawValue: 0x80_000F)
  public static let notOwner = ReplyCode(rawValue: 0x80_0010)
  public static let notContext = ReplyCode(rawValue: 0x80_0011)
  public static let isContext = ReplyCode(rawValue: 0x80_0012)
  public static let contextNotEmpty = ReplyCode(rawValue: 0x80_0013)
  public static let nameTooLong = ReplyCode(rawValue: 0x80_0014)
  public static let readOnly = ReplyCode(rawValue: 0x80_0015)
  public static let noSpace = ReplyCode(rawValue: 0x80_0016)
  public static let quotaExceeded = ReplyCode(rawValue: 0x80_0017)
  public static let tooManyNames = ReplyCode(rawValue: 0x80_0018)
  public static let differentManager = ReplyCode(rawValue: 0x80_0019)
  public static let tooLarge = ReplyCode(rawValue: 0x80_001A)
  public static let programInUse = ReplyCode(rawValue: 0x80_001B)
  public static let tooManyLinks = ReplyCode(rawValue: 0x80_001C)
  public static let noAttribute = ReplyCode(rawValue: 0x80_001D)
  public static let notSupported = ReplyCode(rawValue: 0x80_001E)
  public static let interrupted = ReplyCode(rawValue: 0x80_001F)
  public static let deadlock = ReplyCode(rawValue: 0x80_0020)
  public static let wouldBlock = ReplyCode(rawValue: 0x80_0021)
  public static let brokenPipe = ReplyCode(rawValue: 0x80_0022)
  public static let noDevice = ReplyCode(rawValue: 0x80_0023)
  public static let inUse = ReplyCode(rawValue: 0x80_0024)
  public static let outOfRange = ReplyCode(rawValue: 0x80_0025)
  public static let valueTooLarge = ReplyCode(rawValue: 0x80_0026)
  public static let notSeekable = ReplyCode(rawValue: 0x80_0027)
  public static let noProcess = ReplyCode(rawValue: 0x80_0028)
  /// The server ended before it answered; if nothing was done, the code is `nonexistentEntity`.
  public static let outcomeUnknown = ReplyCode(rawValue: 0x80_0029)
}

extension ReplyCode: CustomStringConvertible {
  /// The code's sentence; an unknown code is its number.
  public var description: String {
    Self.table.first { $0.code == self }.map { "\($0.sentence)" } ?? "reply code \(rawValue)"
  }

  /// Every named code, its sentence and the errno that a Linux program sees for it.
  static let table: [(code: ReplyCode, errno: Int32, sentence: StaticString)] = [
    (.ok, 0, "done"),
    (.retry, 11, "some blocks are missing"),
    (.retryAll, 11, "all blocks are missing"),
    (.busy, 16, "the manager has no room for one more client"),
    (.nonexistentEntity, 112, "the entity does not exist"),
    (.entityMigrated, 11, "the entity has moved"),
    (.noPermission, 13, "permission denied"),
    (.notAwaitingMessage, 11, "the receiver is not waiting"),
    (.vmtpError, 71, "a packet broke the protocol"),
    (.transactionOverflow, 11, "too many transactions outstanding"),
    (.badTransactionID, 71, "not the current transaction"),
    (.streamingNotSupported, 95, "streaming is not supported"),
    (.noRunRecord, 71, "the run is not known"),
    (.retransmissionTimeout, 112, "host is down"),
    (.userTimeout, 110, "the time limit passed"),
    (.responseDiscarded, 5, "the response was discarded"),
    (.securityNotSupported, 71, "sealed packets are not supported"),
    (.badReplySegment, 5, "part of the response was lost"),
    (.securityRequired, 71, "only sealed packets are accepted"),
    (.endOfFile, 0, "end of file"),
    (.badByteCount, 22, "the byte count is not possible"),
    (.badBlockNumber, 22, "the block number is not possible"),
    (.badArguments, 22, "the arguments are not possible"),
    (.modeNotSupported, 22, "the mode is not supported"),
    (.invalidFileID, 116, "the object is gone"),
    (.notReadable, 9, "not readable"),
    (.notWriteable, 9, "not writeable"),
    (.notFound, 2, "no such name"),
    (.invalidContext, 116, "the context is not known"),
    (.noServerResources, 23, "the manager has no resources left"),
    (.noMemory, 12, "out of memory"),
    (.duplicateName, 17, "the name is taken"),
    (.deviceError, 5, "input or output failed"),
    (.illegalRequest, 38, "the manager does not know the operation"),
    (.notOwner, 1, "only the owner may do that"),
    (.notContext, 20, "not a directory"),
    (.isContext, 21, "is a directory"),
    (.contextNotEmpty, 39, "the directory is not empty"),
    (.nameTooLong, 36, "the name is too long"),
    (.readOnly, 30, "served read-only"),
    (.noSpace, 28, "no space left"),
    (.quotaExceeded, 122, "quota exceeded"),
    (.tooManyNames, 31, "too many names for one object"),
    (.differentManager, 18, "the two names have different managers"),
    (.tooLarge, 27, "too large for the manager"),
    (.programInUse, 26, "the program is being run"),
    (.tooManyLinks, 40, "too many symbolic links"),
    (.noAttribute, 61, "no such attribute"),
    (.notSupported, 95, "not supported"),
    (.interrupted, 4, "interrupted"),
    (.deadlock, 35, "waiting would never end"),
    (.wouldBlock, 11, "try again"),
    (.brokenPipe, 32, "nobody reads"),
    (.noDevice, 6, "no such device"),
    (.inUse, 16, "in use"),
    (.outOfRange, 34, "does not fit the buffer"),
    (.valueTooLarge, 75, "the value does not fit its type"),
    (.notSeekable, 29, "has no positions"),
    (.noProcess, 3, "no such process"),
    (.outcomeUnknown, 5, "the server ended, perhaps after it had done it"),
  ]
}

extension ReplyCode {
  /// The Linux error number (asm-generic) of this code; an unknown code is EIO.
  public var errno: Int32 { Self.table.first { $0.code == self }?.errno ?? 5 }

  /// The code that a manager answers for an error number of its own system calls.
  ///
  /// If several codes have that number, it is the one in `preferred`; an unknown number is
  /// `deviceError`.
  public init(errno: Int32) {
    if let code = Self.preferred.first(where: { $0.errno == errno }) {
      self = code
    } else {
      self = Self.table.first { $0.errno == errno }?.code ?? .deviceError
    }
  }

  private static let preferred: [ReplyCode] = [
    .wouldBlock, .inUse, .noPermission, .retransmissionTimeout, .deviceError, .badArguments,
    .invalidFileID, .notReadable, .notSupported, .ok,
  ]

  /// Every code that has a name.
  public static var named: [ReplyCode] { table.map(\.code) }
}
