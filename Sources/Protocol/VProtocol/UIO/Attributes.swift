/// What a UIO object can do, announced before it is used (CACM 1988, UIO 1987).
public struct UIOAttributes: OptionSet, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let readable = UIOAttributes(rawValue: 1)
  public static let writeable = UIOAttributes(rawValue: 2)
  /// Writes go to the end, whatever their position is.
  public static let appendOnly = UIOAttributes(rawValue: 4)
  /// Blocks only in order; no positions.
  public static let stream = UIOAttributes(rawValue: 8)
  public static let fixedLength = UIOAttributes(rawValue: 16)
  /// A block may be short, and one read never joins two.
  public static let variableBlock = UIOAttributes(rawValue: 32)
  public static let multiBlock = UIOAttributes(rawValue: 64)
  /// A person or a device is at the other end.
  public static let interactive = UIOAttributes(rawValue: 128)
  /// A block reads the same until it is written.
  public static let storage = UIOAttributes(rawValue: 256)
  public static let randomAccess = UIOAttributes(rawValue: 512)
}

extension UIOAttributes: CustomStringConvertible {
  /// The names of the attributes, as V writes them.
  public var description: String {
    Self.names.enumerated().filter { rawValue >> $0.offset & 1 != 0 }.map(\.element)
      .joined(separator: " ")
  }

  private static let names = [
    "READABLE", "WRITEABLE", "APPEND_ONLY", "STREAM", "FIXED_LENGTH", "VARIABLE_BLOCK",
    "MULTI_BLOCK", "INTERACTIVE", "STORAGE", "RANDOM_ACCESS",
  ]
}

/// What an object is: the type tag of its descriptor.
public struct ObjectKind: Hashable, Sendable {
  public var rawValue: UInt16
  public init(rawValue: UInt16) { self.rawValue = rawValue }

  public static let file = ObjectKind(rawValue: 1)
  /// A directory: a context whose names one manager interprets.
  public static let context = ObjectKind(rawValue: 2)
  public static let symbolicLink = ObjectKind(rawValue: 3)
  public static let fifo = ObjectKind(rawValue: 4)
  public static let socket = ObjectKind(rawValue: 5)
  public static let characterDevice = ObjectKind(rawValue: 6)
  public static let blockDevice = ObjectKind(rawValue: 7)
  /// A directory whose names are prefixes of several managers.
  public static let sharedContext = ObjectKind(rawValue: 16)

  public var isContext: Bool { self == .context || self == .sharedContext }
}

/// How an instance is opened; the low two bits are a mode, the rest flags.
public struct OpenMode: OptionSet, Sendable {
  /// The low 16 bits travel.
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let read = OpenMode(rawValue: 1)
  public static let write = OpenMode(rawValue: 2)
  /// Every write goes to the end, carried out by the manager.
  public static let append = OpenMode(rawValue: 4)
  /// Make the object if the name is free.
  public static let create = OpenMode(rawValue: 8)
  /// With `create`: refuse with `duplicateName` if the name is taken.
  public static let exclusive = OpenMode(rawValue: 16)
  public static let truncate = OpenMode(rawValue: 32)
  /// Read the descriptors of a context.
  public static let directory = OpenMode(rawValue: 64)
  /// Acknowledge writes only once they are on the disk.
  public static let synchronous = OpenMode(rawValue: 128)
  /// Drop set-user and set-group bits where a write would.
  public static let dropPrivileges = OpenMode(rawValue: 256)
  /// Opened to be run: execute permission is wanted, not read permission.
  public static let execute = OpenMode(rawValue: 512)
  /// Refuse with `wouldBlock` what would wait for others.
  public static let nonBlocking = OpenMode(rawValue: 1024)

  /// All bits that mean something.
  private static let known: OpenMode = OpenMode(rawValue: 0x7FF)

  /// Whether it is a valid mode: it opens for something, all its bits are known, and no bit lacks
  /// another one that it needs.
  public var isPossible: Bool {
    guard isSubset(of: Self.known), !isDisjoint(with: [.read, .write, .execute, .directory])
    else { return false }
    if contains(.directory) && !isDisjoint(with: [.write, .create, .truncate, .execute]) {
      return false
    }
    if contains(.truncate) && !contains(.write) { return false }
    return !contains(.exclusive) || contains(.create)
  }

  /// The rights that it needs, as in a Linux mode: 4 read, 2 write, 1 execute.
  public var rights: UInt32 {
    (isDisjoint(with: [.read, .directory]) ? 0 : 4)
      | (isDisjoint(with: [.write, .truncate]) ? 0 : 2) | (contains(.execute) ? 1 : 0)
  }

  /// The mode for people: `read,write`.
  public var words: String {
    [
      (OpenMode.read, "read"), (.write, "write"), (.append, "append"), (.execute, "execute"),
      (.directory, "directory"),
    ].filter { contains($0.0) }.map(\.1).joined(separator: ",")
  }
}
