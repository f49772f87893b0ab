import Foundation
import Testing
import VFileServer
import VProtocol
import VRuntime

@Suite("Making, writing and renaming")
struct ChangingTests {
  @Test("makes a file with the given permissions and writes at the given position")
  func create() throws {
    let served = try Served()
    let made = try served.ask(
      CreateInstance(served.name("f"), mode: [.read, .write, .create], permissions: 0o666))
    #expect(made.isNew && made.descriptor.permissions == 0o666)
    #expect(made.attributes == [.readable, .writeable, .storage, .randomAccess, .multiBlock])
    let first = try served.write("hello", to: made.instance)
    #expect(first.count == 5 && first.size == 5)
    #expect(try served.write("J", to: made.instance, at: 0).size == 5)
    #expect(try served.write("!", to: made.instance, at: 7).size == 8)
    #expect(try served.read(made.instance) == "Jello\0\0!")
    #expect(served.code(SyncInstance(made.instance, isDataOnly: true)) == .ok)
    let again = try served.ask(
      CreateInstance(served.name("f"), mode: [.read, .create], permissions: 0o600))
    #expect(!again.isNew && again.descriptor.context == made.descriptor.context)
    #expect(again.descriptor.size == 8)
    #expect(
      served.code(CreateInstance(served.name("f"), mode: [.write, .create, .exclusive]))
        == .duplicateName)
    #expect(served.code(CreateInstance(served.name("no/f"), mode: [.write, .create])) == .notFound)
    #expect(served.code(CreateInstance(served.name("g"), mode: .read)) == .notFound)
    let emptied = try served.ask(CreateInstance(served.name("f"), mode: [.write, .truncate]))
    #expect(emptied.descriptor.size == 0)
    #expect(served.code(ReadInstance(emptied.instance, position: 0, count: 1)) == .notReadable)
  }

  @Test("appends from several instances never overwrite each other")
  func append() throws {
    let served = try Served()
    let one = try served.open("f", [.write, .append, .create])
    let two = try served.open("f", [.write, .append])
    for _ in 0..<10 {
      try served.write("aa", to: one)
      try served.write("b", to: two)
    }
    let size = try served.ask(QueryInstance(one)).size
    #expect(size == 30)
  }

  @Test("makes directories, links and nodes of every kind")
  func add() throws {
    let served = try Served()
    let directory = try served.ask(
      AddName(served.name("d"), kind: .context, permissions: 0o1775))
    #expect(directory.kind == .context && directory.permissions == 0o1775)
    let link = try served.ask(
      AddName(
        served.name("l", in: directory.context), kind: .symbolicLink, permissions: 0,
        target: Array("../f".utf8)))
    #expect(link.kind == .symbolicLink && link.size == 4)
    for kind in [ObjectKind.file, .fifo, .socket] {
      let name = "n\(kind.rawValue)"
      let made = try served.ask(AddName(served.name(name), kind: kind, permissions: 0o640))
      #expect(made.kind == kind && made.permissions == 0o640)
    }
    if Served.isRoot {
      let device = try served.ask(
        AddName(
          served.name("null"), kind: .characterDevice, permissions: 0o666,
          deviceNumber: 1 << 32 | 3))
      #expect(device.kind == .characterDevice && device.deviceNumber == 1 << 32 | 3)
      #expect(served.code(CreateInstance(served.name("null"), mode: .read)) == .notSupported)
    }
    #expect(
      served.code(AddName(served.name("d"), kind: .context, permissions: 0)) == .duplicateName)
    #expect(
      served.code(AddName(served.name(""), kind: .context, permissions: 0)) == .duplicateName)
    #expect(
      served.code(AddName(served.name("x"), kind: .sharedContext, permissions: 0))
        == .badArguments)
    #expect(served.code(CreateInstance(served.name("n4"), mode: .read)) == .notSupported)
    #expect(served.code(CreateInstance(served.name("d/l"), mode: .read)) == .tooManyLinks)
  }

  @Test("adds and removes names")
  func names() throws {
    let served = try Served()
    try served.put("x", at: "f")
    let file = try served.ask(QueryObject(served.name("f")))
    let linked = try served.ask(LinkName(served.name("g"), object: file.context))
    #expect(linked.links == 2 && linked.context == file.context)
    mkdir(served.path + "/d", 0o755)
    #expect(served.code(RemoveName(served.name("f"), isContext: true)) == .notContext)
    #expect(served.code(RemoveName(served.name("d"), isContext: false)) == .isContext)
    #expect(served.code(RemoveName(served.name(""), isContext: true)) == .inUse)
    try served.put("x", at: "d/x")
    #expect(served.code(RemoveName(served.name("d"), isContext: true)) == .contextNotEmpty)
    #expect(served.code(RemoveName(served.name("f"), isContext: false)) == .ok)
    #expect(served.code(RemoveName(served.name("f"), isContext: false)) == .notFound)
    #expect(try served.ask(QueryObject(served.name("", in: file.context))).links == 1)
  }

  @Test("renames in one step, with refusal or exchange if wanted")
  func rename() throws {
    let served = try Served()
    try served.put("a", at: "a")
    try served.put("b", at: "b")
    mkdir(served.path + "/d", 0o755)
    let directory = try served.ask(QueryObject(served.name("d")))
    func rename(_ old: String, _ new: String, _ mode: RenameObject.Mode) -> ReplyCode {
      served.code(
        RenameObject(served.name(old), to: directory.context, Array(new.utf8), mode: mode))
    }
    let instance = try served.open("a", .read)
    #expect(rename("a", "a", .noReplace) == .ok)
    #expect(rename("b", "a", .noReplace) == .duplicateName)
    #expect(rename("b", "a", .exchange) == .ok)
    #expect(try served.read(served.open("b", .read)) == "a")
    #expect(rename("b", "a", .replace) == .ok)
    #expect(served.code(QueryObject(served.name("b"))) == .notFound)
    #expect(try served.read(instance) == "a")
    #expect(rename("d", "e", .replace) == .badArguments)
    #expect(rename("a", "e", .replace) == .notFound)
  }

  @Test("changes attributes of objects and of open files")
  func modify() throws {
    let served = try Served()
    try served.put("hello", at: "f")
    var change = Modification()
    change.permissions = 0o444
    change.size = 3
    change.modified = .at(1_000_000_000_000_000_123)
    change.accessed = .at(-1)
    let changed = try served.ask(ModifyObject(served.name("f"), change))
    #expect(changed.permissions == 0o444 && changed.size == 3)
    #expect(changed.modified == 1_000_000_000_000_000_123 && changed.accessed == -1)
    let instance = try served.open("g", [.write, .create], permissions: 0o444)
    var size = Modification()
    size.size = 100
    size.modified = .now
    let grown = try served.ask(ModifyInstance(instance, size))
    #expect(grown.size == 100 && grown.modified > 1_600_000_000_000_000_000)
    let reader = try served.open("g", .read)
    #expect(served.code(ModifyInstance(reader, size)) == .notWriteable)
    var owner = Modification()
    owner.owner = "carl"
    #expect(served.code(ModifyObject(served.name("f"), owner)) == .badArguments)
  }

  @Test("a file without names lives as long as it is open; then its space is freed")
  func removed() throws {
    let served = try Served()
    let instance = try served.open("f", [.read, .write, .create])
    let file = try served.ask(QueryInstance(instance))
    try served.write("kept", to: instance)
    _ = try served.ask(RemoveName(served.name("f"), isContext: false))
    served.backplane.runTimers()
    #expect(try served.read(instance) == "kept")
    #expect(try served.ask(QueryObject(served.name("", in: file.context))).links == 0)
    _ = try served.ask(ReleaseInstance(instance))
    served.backplane.runTimers()
    var code = ReplyCode.ok
    for _ in 0..<1000 where code.isOK {
      code = served.code(QueryObject(served.name("", in: file.context)))
    }
    #expect(code == .invalidContext)
  }

  @Test("below a removed directory nothing can be made")
  func removedDirectory() throws {
    let served = try Served()
    let directory = try served.ask(
      AddName(served.name("d"), kind: .context, permissions: 0o755))
    _ = try served.ask(RemoveName(served.name("d"), isContext: true))
    #expect(try served.ask(QueryObject(served.name("", in: directory.context))).links == 0)
    let name = served.name("f", in: directory.context)
    #expect(served.code(CreateInstance(name, mode: [.write, .create])) == .notFound)
    #expect(served.code(AddName(name, kind: .context, permissions: 0o755)) == .notFound)
  }
}
