public import VProtocol

/// The object of a name in a tree that a server makes.
public enum TreeObject: Sendable {
  case context(TreeContext)
  case text(TreeText)
  case file(any TreeFile)
  /// A symbolic link: its target, and its access.
  case link([UInt8], TreeAccess = TreeAccess(permissions: 0o777))
}

/// The owner of an object and the rights of others, as Linux shows them.
///
/// The group is only shown: every user who is not the owner has the rights of others.
public struct TreeAccess: Equatable, Sendable {
  public var owner: String
  public var group: String
  /// The low 12 bits of a Linux mode.
  public var permissions: UInt32
  /// Differs between objects that have the same name one after another.
  public var generation: UInt64
  /// Nanoseconds since 1970; nil for the manager's start.
  public var modified: Int64?

  public init(
    owner: String = "root", group: String? = nil, permissions: UInt32, generation: UInt64 = 0,
    modified: Int64? = nil
  ) {
    self.owner = owner
    self.group = group ?? owner
    self.permissions = permissions
    self.generation = generation
    self.modified = modified
  }

  /// The rights of a caller: 4 read, 2 write, 1 execute or look up; root may do everything.
  public func rights(of caller: Caller) -> UInt32 {
    if caller.isRoot { return 7 }
    return caller.user == owner ? permissions >> 6 & 7 : permissions & 7
  }
}

/// A context of a tree: its names now, and the object of each.
///
/// `names` and `object` answer from memory, which `prepare` brings up to date.
public struct TreeContext: Sendable {
  /// A name to be made.
  public struct Making: Sendable {
    public var name: Name
    /// `file`, `context` or `symbolicLink`.
    public var kind: ObjectKind
    /// As the caller wants them, umask applied.
    public var permissions: UInt32
    /// Of a symbolic link.
    public var target: [UInt8]
    public var caller: Caller
  }

  public var access = TreeAccess(permissions: 0o555)
  let names: @Sendable () -> [Name]
  let object: @Sendable (Name) -> TreeObject?
  /// Called before a caller looks up a name, or, with nil, lists all of them; then calls its last
  /// argument, with a refusal or with nil.
  public var prepare: (@Sendable (Name?, Caller, @escaping Outcome) -> Void)?
  /// Makes a free name, for a caller who has the right to write; without it no name can be made.
  public var make: (@Sendable (Making, @escaping Outcome) -> Void)?
  /// A caller that has the context open cannot remove names from it (`inUse`): so a recursive
  /// removal fails, for names that only stand for objects elsewhere.
  public var isKeptWhileOpen = false
  /// Removes a name, in the same way.
  public var remove: (@Sendable (Name, Caller, @escaping Outcome) -> Void)?
  /// Moves the first name's object to the second name, replacing its object, for a caller who has
  /// the right to write.
  public var rename: (@Sendable (Name, Name, Caller, @escaping Outcome) -> Void)?

  public var isEmpty: Bool { names().isEmpty }

  /// Names that change: all of them, and the object of one, nil if it does not exist.
  public init(
    names: @escaping @Sendable () -> [Name], object: @escaping @Sendable (Name) -> TreeObject?
  ) {
    self.names = names
    self.object = object
  }

  /// Names that do not change.
  public init(_ objects: [(name: Name, object: TreeObject)]) {
    self.init(names: { objects.map(\.name) }) { name in
      objects.first { $0.name == name }?.object
    }
  }
}

/// A text that is made when it is opened, and does not change while it is open.
///
/// With a command it also takes lines; the words of a refusal are in the text that the same user
/// reads next.
public struct TreeText: Sendable {
  /// A line that was written, without its newline.
  public struct Line: Sendable {
    public var text: String
    public var caller: Caller
  }

  public var access: TreeAccess
  let make: @Sendable (Caller) -> String
  let prepare: (@Sendable (@escaping @Sendable () -> Void) -> Void)?
  let command: (@Sendable (Line, @escaping Outcome) -> Void)?

  /// `make` answers from memory.
  ///
  /// `prepare` brings `make` up to date before an opening, then calls its argument. `command`
  /// carries out a line of a user who may write, and reports its result, now or later; without it
  /// no user may write.
  public init(
    access: TreeAccess? = nil,
    prepare: (@Sendable (@escaping @Sendable () -> Void) -> Void)? = nil,
    command: (@Sendable (Line, @escaping Outcome) -> Void)? = nil,
    _ make: @escaping @Sendable () -> String
  ) {
    self.access = access ?? TreeAccess(permissions: command == nil ? 0o444 : 0o644)
    self.prepare = prepare
    self.command = command
    self.make = { _ in make() }
  }

  /// A text that differs between callers.
  public init(
    access: TreeAccess = TreeAccess(permissions: 0o444),
    prepare: (@Sendable (@escaping @Sendable () -> Void) -> Void)? = nil,
    for make: @escaping @Sendable (Caller) -> String
  ) {
    self.access = access
    self.prepare = prepare
    command = nil
    self.make = make
  }
}
