import Foundation
import Testing
import VFileServer
import VLinuxStore
import VProtocol
import VRuntime
import VStore

@Suite("Rights on files")
struct RightsTests {
  static let ann = Principal(user: "ann", host: "moa")
  static let bob = Principal(user: "bob", host: "moa")
  static let stranger = Principal(user: "zoe", host: "moa")
  static let moaRoot = Principal(user: "root", host: "moa")

  @Test("objects belong to their makers, by name", .enabled(if: Served.isRoot))
  func ownership() throws {
    let served = try Served(rootHosts: ["tui"], numberHosts: ["ara"])
    for (who, owner) in [
      (Self.ann, "ann"), (Self.stranger, "#65534"), (nil, "#65534"), (Self.moaRoot, "#65534"),
      (Principal(user: "root", host: "tui"), "root"),
      (Principal(user: "root", host: "kea"), "root"),
      (Principal(user: "root", host: "kea", marks: .fullRoot), "root"),
      (Principal(user: "#0", host: "tui"), "#65534"),
      (Principal(user: "#0", host: "kea"), "#65534"),
      (Principal(user: "#4711", host: "kea"), "#4711"),
      (Principal(user: "#4711", host: "moa"), "#65534"),
      (Principal(user: "#4711", host: "tui"), "#65534"),
      (Principal(user: "#4711", host: "ara"), "#4711"),
      (Principal(user: "#4294967295", host: "kea"), "#65534"),
    ] {
      let isMarked = who?.marks.isEmpty == false
      let name = served.name("by-\(who?.description ?? "none")\(isMarked ? "+" : "")")
      let made = try served.ask(AddName(name, kind: .context, permissions: 0o755), as: who)
      #expect(made.owner == owner && made.group == owner)
    }
    // A client of another host that claims to be of this one.
    for user in ["root", "ann", "#4711"] {
      let name = served.name("forged-\(user)")
      let made = try served.ask(
        AddName(name, kind: .context, permissions: 0o755), as: Principal(user: user, host: "kea"),
        isLocal: false)
      #expect(made.owner == "#65534" && made.group == "#65534")
    }
    #expect(geteuid() == 0)
    #expect(try served.ask(QueryObject(served.name("by-ann@moa")), as: Self.bob).owner == "ann")
  }

  @Test("permissions hold for each user and group", .enabled(if: Served.isRoot))
  func permissions() throws {
    let served = try Served()
    let instance = try served.open("f", [.write, .create], permissions: 0o640, as: Self.ann)
    try served.write("secret", to: instance, as: Self.ann)
    let read = CreateInstance(served.name("f"), mode: .read)
    #expect(served.code(read, as: Self.bob) == .noPermission)
    #expect(served.code(read, as: Self.moaRoot) == .noPermission)
    #expect(served.code(CheckAccess(served.name("f"), mask: 4), as: Self.bob) == .noPermission)
    #expect(served.code(CheckAccess(served.name("f"), mask: 6), as: Self.ann) == .ok)
    #expect(served.code(CheckAccess(served.name("f"), mask: 1), as: Self.ann) == .noPermission)
    var group = Modification()
    group.group = "staff"
    #expect(served.code(ModifyObject(served.name("f"), group), as: Self.bob) == .notOwner)
    #expect(try served.ask(ModifyObject(served.name("f"), group), as: Self.ann).group == "staff")
    #expect(served.code(read, as: Self.bob) == .ok)
    var owner = Modification()
    owner.owner = "bob"
    #expect(served.code(ModifyObject(served.name("f"), owner), as: Self.ann) == .notOwner)
    owner.owner = "#2002"
    #expect(served.code(ModifyObject(served.name("f"), owner), as: Self.ann) == .notOwner)
    #expect(try served.ask(ModifyObject(served.name("f"), owner)).owner == "bob")
    #expect(served.code(RemoveName(served.name("f"), isContext: false), as: Self.ann) == .ok)
  }

  @Test("directories that may not be searched hide what is below", .enabled(if: Served.isRoot))
  func search() throws {
    let served = try Served()
    _ = try served.ask(
      AddName(served.name("d"), kind: .context, permissions: 0o700), as: Self.ann)
    _ = try served.ask(
      AddName(served.name("d/e"), kind: .context, permissions: 0o777), as: Self.ann)
    #expect(served.code(QueryObject(served.name("d/e")), as: Self.bob) == .noPermission)
    #expect(served.code(QueryObject(served.name("d")), as: Self.bob) == .ok)
    #expect(served.code(QueryObject(served.name("d/e")), as: Self.ann) == .ok)
  }

  @Test(
    "a program that may be run but not read is read by mounts alone", .enabled(if: Served.isRoot))
  func execute() throws {
    let served = try Served()
    try served.put("program", at: "p")
    chmod(served.path + "/p", 0o711)
    let mount = Principal(user: "ann", host: "moa", marks: .mountMade)
    func code(_ mode: OpenMode, as who: Principal) -> ReplyCode {
      served.code(CreateInstance(served.name("p"), mode: mode), as: who)
    }
    #expect(code(.read, as: mount) == .noPermission)
    #expect(code(.execute, as: Self.ann) == .noPermission)
    let instance = try served.open("p", .execute, as: mount)
    let data = try served.ask(ReadInstance(instance, position: 0, count: 100), as: mount).data
    #expect(data == Array("program".utf8))
    chmod(served.path + "/p", 0o755)
    #expect(code(.execute, as: Self.ann) == .ok)
    chmod(served.path + "/p", 0o744)
    #expect(code(.execute, as: mount) == .noPermission)
  }

  @Test("an opening needs all its rights together", .enabled(if: Served.isRoot))
  func together() throws {
    let served = try Served()
    try served.put("program", at: "p")
    let mount = Principal(user: "ann", host: "moa", marks: .mountMade)
    for permissions in 0..<8 as Range<UInt32> {
      chmod(served.path + "/p", mode_t(0o770 | permissions))
      for wanted in 1..<8 as Range<UInt32> {
        var mode: OpenMode = []
        if wanted & 4 != 0 { mode.insert(.read) }
        if wanted & 2 != 0 { mode.insert(.write) }
        if wanted & 1 != 0 { mode.insert(.execute) }
        // Running a program reads it; only a mount may do so without the right to read.
        let both = wanted & 1 != 0 ? wanted | 4 : wanted
        for (who, needed) in [(mount, wanted == 1 ? 1 : both), (Self.ann, both)] {
          let code = served.code(CreateInstance(served.name("p"), mode: mode), as: who)
          #expect(code == (needed & ~permissions == 0 ? .ok : .noPermission), "\(mode.words)")
        }
      }
    }
  }

  @Test("a context gives no right to pass a directory", .enabled(if: Served.isRoot))
  func contexts() throws {
    let served = try Served()
    let made = try served.ask(
      AddName(served.name("d"), kind: .context, permissions: 0o700), as: Self.ann)
    let context = made.context
    let file = try served.open("d/f", [.write, .create], permissions: 0o666, as: Self.ann)
    _ = try served.open("g", [.write, .create], permissions: 0o666, as: Self.bob)
    let open = try served.ask(QueryInstance(file), as: Self.ann).context
    func name(_ text: String) -> ContextName { served.name(text, in: context) }
    _ = try served.ask(
      AddName(name("l"), kind: .symbolicLink, permissions: 0, target: [0x66]), as: Self.ann)
    let attribute = Array("user.a".utf8)
    let refused: [(String, ReplyCode)] = [
      ("query", served.code(QueryObject(name("f")), as: Self.bob)),
      ("modify", served.code(ModifyObject(name("f"), Modification()), as: Self.bob)),
      ("open", served.code(CreateInstance(name("f"), mode: .read), as: Self.bob)),
      ("make", served.code(CreateInstance(name("x"), mode: [.write, .create]), as: Self.bob)),
      ("list", served.code(CreateInstance(name(""), mode: .directory), as: Self.bob)),
      ("add", served.code(AddName(name("x"), kind: .context, permissions: 0o755), as: Self.bob)),
      ("link", served.code(LinkName(name("x"), object: open), as: Self.bob)),
      ("remove", served.code(RemoveName(name("f"), isContext: false), as: Self.bob)),
      (
        "rename from",
        served.code(
          RenameObject(name("f"), to: served.root, Array("y".utf8), mode: .replace), as: Self.bob)
      ),
      (
        "rename to",
        served.code(
          RenameObject(served.name("g"), to: context, Array("y".utf8), mode: .replace),
          as: Self.bob)
      ),
      ("read link", served.code(ReadLink(name("l")), as: Self.bob)),
      ("check", served.code(CheckAccess(name("f"), mask: 0), as: Self.bob)),
      ("room", served.code(QueryStore(name("f")), as: Self.bob)),
      ("attribute", served.code(QueryAttribute(name("f"), attribute: attribute), as: Self.bob)),
      ("attributes", served.code(ListAttributes(name("f")), as: Self.bob)),
      (
        "set attribute",
        served.code(ChangeAttribute(name("f"), attribute: attribute, .set([1])), as: Self.bob)
      ),
    ]
    for (what, code) in refused { #expect(code == .noPermission, "\(what)") }
    #expect(served.code(QueryObject(name("f")), as: Self.ann) == .ok)
    #expect(served.code(ListAttributes(name("f")), as: Self.ann) == .ok)
    #expect(served.code(ReadLink(name("l")), as: Self.ann) == .ok)
    #expect(served.code(CreateInstance(name(""), mode: .directory), as: Self.ann) == .ok)
  }

  @Test(
    "the owner makes one more name, or a user who may read and write", .enabled(if: Served.isRoot))
  func links() throws {
    let served = try Served()
    for (number, permissions, code) in [
      (0, 0o600, ReplyCode.notOwner), (1, 0o644, .notOwner), (2, 0o666, .ok),
      (3, 0o4666, .notOwner), (4, 0o2676, .notOwner), (5, 0o2666, .ok),
    ] {
      _ = try served.open("f\(number)", [.write, .create], as: Self.ann)
      chmod("\(served.path)/f\(number)", mode_t(permissions))
      let file = try served.ask(QueryObject(served.name("f\(number)"))).context
      let link = LinkName(served.name("l\(number)"), object: file)
      #expect(served.code(link, as: Self.bob) == code, "\(String(permissions, radix: 8))")
      #expect(served.code(LinkName(served.name("a\(number)"), object: file), as: Self.ann) == .ok)
    }
  }

  @Test("if the table of users fails, requests are refused, and no user becomes nobody")
  func failingUsers() throws {
    struct FailingUsers: UserTable {
      func credentials(
        ofUser name: String, _ patience: Patience
      ) throws(StoreFailure) -> Credentials? { throw .refused(.deviceError) }
      func groupID(_ name: String, _ patience: Patience) -> UInt32? { nil }
      func userName(_ uid: UInt32, _ patience: Patience) -> String? { nil }
      func groupName(_ gid: UInt32, _ patience: Patience) -> String? { nil }
    }
    let served = try Served(users: FailingUsers())
    try served.put("x", at: "f")
    let open = CreateInstance(served.name("f"), mode: .read)
    #expect(served.code(open, as: Self.ann) == .deviceError)
    #expect(served.code(QueryObject(served.name("f")), as: Self.ann) == .deviceError)
    #expect(served.code(open) == .ok)
  }

  @Test("a descriptor goes to clients of this host, with the rights of the instance")
  func descriptors() throws {
    let served = try Served()
    try served.put("x", at: "f")
    chmod(served.path + "/f", 0o777)
    func passed(
      _ name: String, _ mode: OpenMode, as who: Principal = Served.local, isLocal: Bool? = nil
    ) -> Int32? {
      let client = served.backplane.begin(
        CreateInstance(served.name(name), mode: mode).message, to: served.manager, as: who,
        isLocal: isLocal)
      let end = Date(timeIntervalSinceNow: 10)
      while served.backplane.reply(to: client) == nil && Date() < end { usleep(200) }
      #expect(served.backplane.reply(to: client)?.reply == .ok)
      return served.backplane.passedMode(to: client)
    }
    #expect(passed("f", .read) == O_RDONLY)
    #expect(passed("f", .execute) == O_RDONLY)
    #expect(passed("f", .write) == O_WRONLY)
    #expect(passed("f", [.write, .append]) == O_WRONLY)
    #expect(passed("f", [.read, .write]) == O_RDWR)
    #expect(passed("g", [.write, .create]) == O_WRONLY)
    #expect(passed("", .directory) == nil)
    guard Served.isRoot else { return }
    #expect(passed("f", .read, as: Self.ann) == nil)
    #expect(passed("f", .read, isLocal: false) == nil)
  }

  @Test("writes drop set-user bits, but not root's own", .enabled(if: Served.isRoot))
  func privileges() throws {
    let served = try Served()
    func write(as who: Principal, drops: Bool) throws -> UInt32 {
      try served.put("x", at: "f")
      chmod(served.path + "/f", 0o6777)
      let instance = try served.open("f", .write, as: who)
      try served.write("y", to: instance, as: who, dropsPrivileges: drops)
      return try served.ask(QueryObject(served.name("f"))).permissions
    }
    #expect(try write(as: Self.ann, drops: false) == 0o777)
    #expect(try write(as: Served.local, drops: false) == 0o6777)
    #expect(try write(as: Served.local, drops: true) == 0o777)
  }

  @Test("a read-only export changes nothing")
  func readOnly() throws {
    let served = try Served(isReadOnly: true)
    try served.put("x", at: "f")
    let file = try served.ask(QueryObject(served.name("f")))
    #expect(!file.attributes.contains(.writeable))
    let name = served.name("f")
    let new = served.name("g")
    var change = Modification()
    change.permissions = 0o777
    #expect(served.code(CreateInstance(name, mode: .write)) == .readOnly)
    #expect(served.code(CreateInstance(name, mode: [.write, .truncate])) == .readOnly)
    #expect(served.code(CreateInstance(new, mode: [.read, .create])) == .readOnly)
    #expect(served.code(ModifyObject(name, change)) == .readOnly)
    #expect(served.code(AddName(new, kind: .context, permissions: 0)) == .readOnly)
    #expect(served.code(LinkName(new, object: file.context)) == .readOnly)
    #expect(served.code(RemoveName(name, isContext: false)) == .readOnly)
    #expect(
      served.code(RenameObject(name, to: served.root, Array("g".utf8), mode: .replace))
        == .readOnly)
    #expect(served.code(CheckAccess(name, mask: 2)) == .readOnly)
    let instance = try served.open("f", [.read, .create])
    #expect(served.code(ModifyInstance(instance, change)) == .readOnly)
    #expect(served.code(WriteInstance(instance, position: 0, data: [1])) == .notWriteable)
    #expect(try served.read(instance) == "x")
  }

  @Test("an export is closed to hosts that are not in its list")
  func hosts() throws {
    let served = try Served(allowedHosts: ["tui"])
    let query = QueryObject(served.name(""))
    #expect(served.code(query, as: Principal(user: "ann", host: "tui")) == .ok)
    #expect(served.code(query, as: Served.local) == .ok)
    #expect(served.code(query, as: Self.ann) == .noPermission)
    #expect(served.code(query, as: nil) == .noPermission)
  }

  @Test("an instance belongs to the principal that opened it")
  func instances() throws {
    let served = try Served()
    let instance = try served.open("f", [.read, .write, .create], permissions: 0o666)
    let owner = Served.local
    let lock = ObjectLock(.shared, isWhole: false, owner: 1, range: 0...0, process: 1)
    var others = [Self.ann, Self.moaRoot, Principal(user: "ann", host: "kea")]
    // Root of a container, or the other way round.
    others.append(Principal(user: owner.user, host: owner.host, marks: .fullRoot))
    others.append(Principal(user: owner.user, host: owner.host, marks: .mountMade))
    for who in others {
      for code in [
        served.code(QueryInstance(instance), as: who),
        served.code(ModifyInstance(instance, Modification()), as: who),
        served.code(ReadInstance(instance, position: 0, count: 1), as: who),
        served.code(WriteInstance(instance, position: 0, data: [1]), as: who),
        served.code(SyncInstance(instance, isDataOnly: true), as: who),
        served.code(LockInstance(instance, lock, .atOnce), as: who),
        served.code(QueryLock(instance, lock), as: who),
        served.code(ReleaseInstance(instance), as: who),
      ] {
        #expect(code == .noPermission, "\(who)")
      }
    }
    #expect(served.code(ReadInstance(instance, position: 0, count: 1)) == .ok)
  }

  @Test("numbers of instances are shown to root of this host alone")
  func lines() throws {
    let served = try Served()
    let instance = try served.open("f", [.read, .create])
    let root = Principal(user: "root", host: "kea", marks: .fullRoot)
    let number = "\(instance.rawValue)"
    func lines(_ who: Principal) throws -> String {
      String(decoding: try served.ask(ListInstances(from: 0), as: who).data, as: UTF8.self)
    }
    #expect(try lines(root).hasPrefix(number + " "))
    #expect(try lines(Self.ann).hasPrefix("- ") && !lines(Self.ann).contains(number))
    #expect(try lines(root).contains(" read storage/kea "))
  }
}
