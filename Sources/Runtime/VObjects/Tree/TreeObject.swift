public import VProtocol

/// What stands under a name of a tree that a board makes up.
public enum TreeObject: Sendable {
  case context(TreeContext)
  case text(TreeText)
  case file(any TreeFile)
  /// A symbolic link: its target, and whose it is.
  case link([UInt8], TreeAccess = TreeAccess(permissions: 0o777))
}

/// Whose an object is and what others may do with it, as Linux shows it.
///
/// The group is shown only: who is not the owner has the rights of all others.
public struct TreeAccess: Equatable, Sendable {
  public var owner: String
  public var group: String
  /// The low 12 bits of a Linux mode.
  public var permissions: UInt32
  /// Tells an object from an earlier one of the same name.
  public var generation: UInt64
  /// Nanoseconds since 1970; nil where the manager's start will do.
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

  /// What a caller may do: 4 read, 2 write, 1 execute or look up; root may do everything.
  public func rights(of caller: Caller) -> UInt32 {
    if caller.isRoot { return 7 }
    return caller.user == owner ? permissions >> 6 & 7 : permissions & 7
  }
}

/// A context of a tree: which names it has now, and what each of them stands for.
///
/// `names` and `object` answer from memory; what they need is seen to by `prepare`.
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
  /// Called before a caller looks a name up, or, with nil, lists all of them; then calls its last
  /// argument, with why nothing is looked up or with nil.
  public var prepare: (@Sendable (Name?, Caller, @escaping Outcome) -> Void)?
  /// Makes a name that is free, for a caller who has the right to write; without it nobody can.
  public var make: (@Sendable (Making, @escaping Outcome) -> Void)?
  /// Nothing is taken away by who has the context open: that is how a whole tree is removed, of
  /// what is only named here (`inUse`).
  public var isKeptWhileOpen = false
  /// Takes a name away, in the same way.
  public var remove: (@Sendable (Name, Caller, @escaping Outcome) -> Void)?
  /// Gives the first name's object the second name, in the place of what has it, for a caller who
  /// has the right to write.
  public var rename: (@Sendable (Name, Name, Caller, @escaping Outcome) -> Void)?

  public var isEmpty: Bool { names().isEmpty }

  /// Names that come and go: all of them, and the object of one, nil where it is not there.
  public init(
    names: @escaping @Sendable () -> [Name], object: @escaping @Sendable (Name) -> TreeObject?
  ) {
    self.names = names
    self.object = object
  }

  /// Names that stay.
  public init(_ objects: [(name: Name, object: TreeObject)]) {
    self.init(names: { objects.map(\.name) }) { name in
      objects.first { $0.name == name }?.object
    }
  }
}

/// Text that is made anew when it is opened, and then stays as it is for whoever opened it.
///
/// With a command it also takes lines; a refusal's words stand in the text that the same user reads
/// next.
public struct TreeText: Sendable {
  /// A line that somebody wrote, without its newline.
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
  /// `prepare` sees to it, before an opening, that `make` is up to date, then calls its argument.
  /// `command` carries out a line of somebody who may write, and says what became of it, now or
  /// later; without it nobody may.
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

  /// A text that is not the same for everybody.
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
