import Foundation
import Testing
import VFileServer
import VLinuxStore
import VProtocol
import VRuntime
import VStore

@Suite("Who may do what")
struct RightsTests {
  static let ann = Principal(user: "ann", host: "moa")
  static let bob = Principal(user: "bob", host: "moa")
  static let stranger = Principal(user: "zoe", host: "moa")
  static let moaRoot = Principal(user: "root", host: "moa")

  @Test("objects belong to who made them, by name", .enabled(if: Served.isRoot))
  func ownership() throws {
    let served = try Served(rootHosts: ["tui"])
    for (who, owner) in [
      (Self.ann, "ann"), (Self.stranger, "#65534"), (nil, "#65534"), (Self.moaRoot, "#65534"),
      (Principal(user: "root", host: "tui"), "root"),
      (Principal(user: "root", host: "kea"), "root"),
      (Principal(user: "#0", host: "tui"), "#65534"),
    ] {
      let name = served.name("by-\(who?.description ?? "none")")
      let made = try served.ask(AddName(name, kind: .context, permissions: 0o755), as: who)
      #expect(made.owner == owner && made.group == owner)
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

  @Test("a program that may be run but not read is read to be run", .enabled(if: Served.isRoot))
  func execute() throws {
    let served = try Served()
    try served.put("program", at: "p")
    chmod(served.path + "/p", 0o711)
    let read = CreateInstance(served.name("p"), mode: .read)
    #expect(served.code(read, as: Self.ann) == .noPermission)
    // A mount runs it; whoever else asks would read it.
    let run = CreateInstance(served.name("p"), mode: .execute)
    #expect(served.code(run, as: Self.ann) == .noPermission)
    let mounted = Principal(user: "ann", host: "moa", marks: .mountMade)
    let instance = try served.open("p", .execute, as: mounted)
    let data = try served.ask(ReadInstance(instance, position: 0, count: 100), as: mounted).data
    #expect(data == Array("program".utf8))
    #expect(
      served.code(CreateInstance(served.name("p"), mode: [.execute, .read]), as: mounted)
        == .noPermission)
    chmod(served.path + "/p", 0o744)
    #expect(served.code(run, as: mounted) == .noPermission)
    chmod(served.path + "/p", 0o755)
    #expect(served.code(run, as: Self.ann) == .ok)
  }

  @Test("the right to execute gives none to write", .enabled(if: Served.isRoot))
  func executeAndWrite() throws {
    let served = try Served()
    for permissions in [0o755, 0o711, 0o555] as [mode_t] {
      try? FileManager.default.removeItem(atPath: served.path + "/p")
      try served.put("program", at: "p")
      chmod(served.path + "/p", permissions)
      for mode in [
        [.execute, .write], [.execute, .write, .truncate], [.execute, .write, .append],
        [.execute, .read, .write], [.execute, .append], [.execute, .write, .create],
      ] as [OpenMode] {
        for marks in [[], .mountMade, .fullRoot] as [Principal.Marks] {
          let ann = Principal(user: "ann", host: "moa", marks: marks)
          let reply = served.backplane.exchange(
            CreateInstance(served.name("p"), mode: mode).message, to: served.manager, as: ann)
          guard reply?.reply == .ok, mode == [.execute, .append] else {
            #expect(reply?.reply == .noPermission, "\(permissions) \(mode.words) \(marks)")
            continue
          }
          // To append to what may only be read is refused when it is done.
          let opened = try CreateInstance.Answer(parsing: #require(reply))
          let write = WriteInstance(opened.instance, position: 0, data: [1])
          #expect(served.code(write, as: ann) == .notWriteable)
        }
      }
      #expect(try String(contentsOfFile: served.path + "/p", encoding: .utf8) == "program")
    }
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

  @Test("an export is closed to hosts that it does not name")
  func hosts() throws {
    let served = try Served(allowedHosts: ["tui"])
    let query = QueryObject(served.name(""))
    #expect(served.code(query, as: Principal(user: "ann", host: "tui")) == .ok)
    #expect(served.code(query, as: Served.local) == .ok)
    #expect(served.code(query, as: Self.ann) == .noPermission)
    #expect(served.code(query, as: nil) == .noPermission)
  }

  @Test("an instance belongs to the host that opened it")
  func instances() throws {
    let served = try Served()
    let instance = try served.open("f", [.read, .write, .create])
    let read = ReadInstance(instance, position: 0, count: 1)
    #expect(served.code(read) == .ok)
    #expect(served.code(read, as: Self.ann) == .noPermission)
    #expect(served.code(ReleaseInstance(instance), as: Self.ann) == .noPermission)
    #expect(served.code(read) == .ok)
  }
}
