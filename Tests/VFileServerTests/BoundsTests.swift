import Foundation
import Synchronization
import Testing
import VFileServer
import VLinuxStore
import VObjects
import VProtocol
import VRuntime

@Suite("Confinement and bounds")
struct BoundsTests {
  @Test(
    "names that Linux would read differently are refused",
    arguments: ["..", ".", "d/..", "../export/f", "d//f", "/f", "d/", "d/./f", "\0", "f\0"])
  func badNames(text: String) throws {
    let served = try Served()
    mkdir(served.path + "/d", 0o755)
    try served.put("x", at: "f")
    let name = served.name(text)
    #expect(served.code(QueryObject(name)) == .badArguments)
    #expect(served.code(CreateInstance(name, mode: [.write, .create])) == .badArguments)
    #expect(served.code(AddName(name, kind: .context, permissions: 0)) == .badArguments)
    #expect(served.code(RemoveName(name, isContext: false)) == .badArguments)
    #expect(
      served.code(
        RenameObject(served.name("f"), to: served.root, Array(text.utf8), mode: .replace))
        == .badArguments)
  }

  @Test("a component has at most 255 octets")
  func longNames() throws {
    let served = try Served()
    let name = String(repeating: "n", count: 255)
    _ = try served.open(name, [.write, .create])
    #expect(served.code(QueryObject(served.name(name))) == .ok)
    #expect(served.code(QueryObject(served.name(name + "n"))) == .nameTooLong)
  }

  @Test("no symbolic link leads the server anywhere")
  func links() throws {
    let served = try Served()
    try "secret".write(toFile: served.outside + "/secret", atomically: false, encoding: .utf8)
    symlink(served.outside, served.path + "/absolute")
    symlink("..", served.path + "/up")
    symlink("d", served.path + "/inside")
    mkdir(served.path + "/d", 0o755)
    try served.put("x", at: "d/f")
    for text in ["absolute/secret", "up/secret", "inside/f"] {
      #expect(served.code(QueryObject(served.name(text))) == .tooManyLinks)
      #expect(served.code(CreateInstance(served.name(text), mode: .read)) == .tooManyLinks)
      #expect(served.code(RemoveName(served.name(text), isContext: false)) == .notContext)
    }
    symlink(served.outside + "/secret", served.path + "/secret")
    let link = served.name("secret")
    #expect(served.code(CreateInstance(link, mode: .read)) == .tooManyLinks)
    #expect(served.code(CreateInstance(link, mode: [.write, .create])) == .tooManyLinks)
    var change = Modification()
    change.size = 0
    #expect(!served.code(ModifyObject(link, change)).isOK)
    change = Modification()
    change.permissions = 0o777
    #expect(!served.code(ModifyObject(link, change)).isOK)
    let kept = try String(contentsOfFile: served.outside + "/secret", encoding: .utf8)
    #expect(kept == "secret")
  }

  @Test("a directory moved out of the export does not open what is around it")
  func movedOut() throws {
    let served = try Served()
    mkdir(served.path + "/d", 0o755)
    try served.put("x", at: "d/f")
    let directory = try served.ask(QueryObject(served.name("d")))
    #expect(Glibc.rename(served.path + "/d", served.outside + "/d") == 0)
    #expect(served.code(QueryObject(served.name("d"))) == .notFound)
    #expect(
      served.code(QueryObject(served.name("../export", in: directory.context))) == .badArguments)
    #expect(served.code(QueryObject(served.name("f", in: directory.context))) == .ok)
  }

  @Test("the table of contexts drops one not used lately, never a root or one in use")
  func contexts() throws {
    final class Thing: Sendable {}
    let table = ContextTable<Int, Thing>(TestBackplane(), capacity: 4)
    let root = table.grant(0, Thing(), isPinned: true)
    var granted: [ContextID] = []
    weak var dropped: Thing?
    for number in 1...1000 {
      let thing = Thing()
      if number == 2 { dropped = thing }
      granted.append(table.grant(number, thing))
      if number % 3 == 0 { _ = table[granted[0]] }
    }
    #expect(table[root] != nil && table[granted[0]] != nil && table[granted[1]] == nil)
    #expect(dropped == nil)
    #expect(table.all.count == 4 && Set(granted).count == 1000)
    #expect(table.grant(1, Thing()) == granted[0] && table[key: 1] === table[granted[0]])
    table.drop(1)
    #expect(table[granted[0]] == nil && table[key: 1] == nil)
  }

  @Test("a wait in an instance that has ended meanwhile ends at once, with a refusal")
  func lateWait() throws {
    let backplane = TestBackplane()
    let objects = ObjectServer<Int>(backplane)
    let ended = Mutex<[ReplyCode]>([])
    let handlers = ObjectServer<Int>.Handlers(
      create: { operation, caller, request in
        do throws(VProtocol.Refusal) {
          try objects.instances.reserve(for: caller)
          let instance = objects.enter(0, for: operation, caller)
          objects.end(instance)
          try objects.wait(request, in: instance) { code in ended.withLock { $0.append(code) } }
        } catch {
          objects.refuse(error, request)
        }
      },
      serve: { _, _ in }, serveInstance: { _, _ in }, label: { _ in "" })
    let server = objects.start(handlers)
    let create = CreateInstance(ContextName(.none, []), mode: .read)
    _ = backplane.begin(create.message, to: server, as: Served.local)
    #expect(ended.withLock { $0 } == [.invalidFileID] && objects.waits.count == 0)
  }

  @Test("an open object outlives its context, which is dropped for others")
  func held() throws {
    var limits = FileLimits(descriptors: 20_000)
    limits.contexts = 4
    let served = try Served(limits: limits)
    for number in 0..<100 { try served.put("\(number)", at: "f\(number)") }
    let context = try served.ask(QueryObject(served.name("f0"))).context
    #expect(served.code(QueryObject(ContextName(context))) == .ok)
    let instance = try served.open("f0", .read)
    for number in 1..<100 { _ = try served.ask(QueryObject(served.name("f\(number)"))) }
    #expect(served.code(QueryObject(ContextName(context))) == .invalidContext)
    #expect(try served.read(instance) == "0")
    #expect(try served.ask(QueryInstance(instance)).size == 1)
    // The export itself is not looked up again: its context has stayed.
    #expect(served.code(QueryObject(ContextName(served.root))) == .ok)
    _ = try served.ask(ReleaseInstance(instance))
    for number in 1..<100 { _ = try served.ask(QueryObject(served.name("f\(number)"))) }
    #expect(served.descriptorCount(of: "f0") == 0)
  }

  @Test("opening too much is refused, makes nothing, and does not affect others")
  func instances() throws {
    var limits = FileLimits(descriptors: 20_000)
    limits.instances = 64
    let served = try Served(rootHosts: ["moa"], limits: limits)
    let moaRoot = Principal(user: "root", host: "moa")
    func open(_ name: String, as who: Principal) throws -> InstanceID {
      try served.open(name, [.read, .create], as: who)
    }
    let first = try open("f", as: Served.local)
    for _ in 1..<16 { _ = try open("f", as: Served.local) }
    let more = CreateInstance(served.name("more"), mode: [.write, .create])
    #expect(served.code(more) == .noServerResources)
    #expect(served.code(QueryObject(served.name("more"))) == .notFound)
    let fullRoot = Principal(user: "root", host: "kea", marks: .fullRoot)
    if Served.isRoot {
      for _ in 0..<16 { _ = try open("f", as: moaRoot) }
      #expect(
        served.code(CreateInstance(served.name("f"), mode: .read), as: moaRoot)
          == .noServerResources)
      for _ in 0..<32 { _ = try open("f", as: fullRoot) }
    }
    _ = try served.ask(ReleaseInstance(first))
    #expect(served.code(more) == .ok)
    // A refused opening gives its place back.
    for _ in 0..<100 {
      #expect(!served.code(CreateInstance(served.name("none"), mode: .read)).isOK)
    }
    #expect(served.server.instanceCount == (Served.isRoot ? 64 : 16))
  }

  @Test("the parts of a process's descriptors leave a quarter for other uses")
  func limits() {
    for count in [1024, 4096, 20_000, 65_536, 1 << 20] {
      let limits = FileLimits(descriptors: count)
      #expect(limits.instances + limits.contexts + limits.lockedObjects <= count / 4 * 3)
    }
    #expect(FileLimits(descriptors: .max).instances == InstanceLimits.instancesMax)
  }

  @Test("an export with an empty prefix, or one in use, is refused at the start")
  func exports() throws {
    let store = try LinuxStore()
    func start(_ exports: [Export]) throws(ExportFailure) {
      _ = try FileServer(TestBackplane(), store: store, users: TestUsers(), exports: exports)
    }
    let prefix = Array("a".utf8)
    #expect(throws: Never.self) { try start([Export(prefix: prefix, path: "/no/where")]) }
    #expect(throws: ExportFailure.self) { try start([Export(prefix: [], path: "/tmp")]) }
    #expect(throws: ExportFailure.self) {
      try start([Export(prefix: prefix, path: "/tmp"), Export(prefix: prefix, path: "/var")])
    }
    #expect(throws: Never.self) {
      try start([
        Export(prefix: prefix, path: "/tmp"), Export(prefix: Array("a/b".utf8), path: "/tmp"),
      ])
    }
  }

  @Test("many clients at once each get their own answer, with their own rights")
  func concurrency() async throws {
    let served = try Served()
    let backplane = served.backplane
    let (manager, root) = (served.manager, served.root)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in 0..<8 {
        let users = Served.isRoot ? ["ann", "bob", "root"] : ["self"]
        let who = Principal(user: users[client % users.count], host: "kea")
        group.addTask {
          for round in 0..<50 {
            let name = ContextName(root, Array("f\(client)".utf8))
            let open = try backplane.exchange(
              CreateInstance(name, mode: [.read, .write, .create], permissions: 0o600),
              to: manager, as: who)
            let text = Array("\(client) \(round)".utf8)
            _ = try backplane.exchange(
              WriteInstance(open.instance, position: 0, data: text), to: manager, as: who)
            let data = try backplane.exchange(
              ReadInstance(open.instance, position: 0, count: text.count), to: manager,
              as: who
            ).data
            #expect(data == text)
            #expect(!Served.isRoot || open.descriptor.owner == who.user)
            _ = try backplane.exchange(
              ReleaseInstance(open.instance), to: manager, as: who)
          }
        }
      }
      try await group.waitForAll()
    }
    withExtendedLifetime(served) {}
  }
}
