public import VProtocol

/// What stands under a name of a tree that a program makes up: nothing of it is on a disk.
public enum TreeObject: Sendable {
  case context(TreeContext)
  case text(TreeText)
  case device(Device)
}

/// A context of a tree: which names it has now, and what one of them stands for.
public struct TreeContext: Sendable {
  let names: @Sendable () -> [String]
  let object: @Sendable (String) -> TreeObject?

  /// Names that come and go: all of them, and the object of one, nil where it is not there.
  public init(
    names: @escaping @Sendable () -> [String], object: @escaping @Sendable (String) -> TreeObject?
  ) {
    self.names = names
    self.object = object
  }

  /// Names that stay.
  public init(_ objects: [(name: String, object: TreeObject)]) {
    self.init(names: { objects.map(\.name) }) { name in
      objects.first { $0.name == name }?.object
    }
  }
}

/// Text that is made anew when it is opened, and then stays as it is for whoever opened it.
public struct TreeText: Sendable {
  let make: @Sendable () -> String
  let prepare: (@Sendable (@escaping @Sendable () -> Void) -> Void)?
  let command: (@Sendable (String) -> ReplyCode)?

  /// `make` answers from memory.
  ///
  /// `prepare` sees to it, before an opening, that `make` is up to date, then calls its argument.
  /// `command` carries out a line that root of this host writes; without it nobody may write.
  public init(
    prepare: (@Sendable (@escaping @Sendable () -> Void) -> Void)? = nil,
    command: (@Sendable (String) -> ReplyCode)? = nil, _ make: @escaping @Sendable () -> String
  ) {
    self.prepare = prepare
    self.command = command
    self.make = make
  }
}

/// The devices of the device server: what a UIO object can be without anything behind it.
public enum Device: String, CaseIterable, Sendable {
  /// Is empty, and takes whatever is written.
  case null
  /// Zeros without an end.
  case zero
  /// Unpredictable octets without an end.
  case random
  /// The time as one line: read from the start, it is the time of that reading.
  case clock

  /// Whoever opens a device is told what it can do.
  ///
  /// Positions are taken and mean nothing, save to the clock, whose line has them. None is
  /// `storage`: a second reading need not give the same.
  public var attributes: UIOAttributes {
    switch self {
    case .null, .zero, .random: [.readable, .writeable, .randomAccess, .multiBlock]
    case .clock: [.readable, .fixedLength, .randomAccess]
    }
  }

  var permissions: UInt32 { attributes.contains(.writeable) ? 0o666 : 0o444 }
  /// Octets from the start to the end; 0 where there is no end.
  var size: Int { self == .clock ? Self.clockBytes : 0 }

  /// Seconds and nanoseconds since 1970 (GMT) as one line, of 21 octets until the year 2286.
  static func clockLine(_ wallClock: Int64) -> String {
    let nanoseconds = "\(wallClock % 1_000_000_000)"
    return "\(wallClock / 1_000_000_000)."
      + String(repeating: "0", count: max(0, 9 - nanoseconds.count)) + nanoseconds + "\n"
  }

  private static let clockBytes = 21
}
