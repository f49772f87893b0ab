import Synchronization
import Testing
import VNode
import VObjects
import VProtocol
import VRAMServer
import VRuntime

/// A bell whose reads wait until it is rung; every write rings it for one of them.
private final class Bell: TreeFile, TreeSession {
  let access = TreeAccess(permissions: 0o666)
  let attributes: UIOAttributes = [.readable, .writeable, .stream]
  let size: UInt64 = 0
  private let waiting = Mutex<[TreeCall]>([])
  let cancelled = Mutex(0)
  let closed = Mutex(0)

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    opened(.success(self))
  }
  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    waiting.withLock { $0.append(call) }
    call.whenCancelled { [self] in cancelled.withLock { $0 += 1 } }
  }
  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    // A read that was cancelled has not been answered: the next one is.
    while let next = waiting.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
      if next.answer(data: data) { break }
    }
    call.answer(count: data.count)
  }
  func close() { closed.withLock { $0 += 1 } }
}

@Suite("A tree manager in the simulator")
struct TreeTests {
  private let simulator = Simulator(seed: 11)
  private let moa: Node
  private let kea: Node

  init() {
    moa = simulator.start("moa")
    kea = simulator.start("kea")
  }

  @Test("keeps a waiting read: a signal or a release ends it, and no octets are lost")
  func waits() throws {
    let bell = Bell()
    let manager = TreeManager(moa, TreeContext([("bell", .file(bell))]))
    let asker = TreeAsker(kea, of: manager.server, simulator)
    let instance = try #require(asker.open("bell", [.read, .write]))
    let answers = Shared<[String: ReplyCode]>([:])
    // In order: the first to arrive is the first to be served.
    func wait(_ who: String) -> EntityID {
      let waits = manager.waitCount
      defer { simulator.run(for: .seconds(5)) { manager.waitCount > waits } }
      let client = kea.makeClient(user: "ann")
      kea.send(
        ReadInstance(instance, position: 0, count: 100), from: client, to: manager.server
      ) { answers.value[who] = $0.refusal ?? .ok }
      return client
    }
    let first = wait("first")
    _ = wait("second")
    _ = wait("third")
    #expect(manager.waitCount == 3 && answers.value.isEmpty)
    // Nobody can end another one's wait.
    #expect(
      TreeAsker(kea, of: manager.server, simulator, as: "bob").code(CancelWait(first)) == .notFound)
    #expect(asker.code(CancelWait(first)) == .ok)
    simulator.run(for: .seconds(1))
    #expect(answers.value == ["first": .interrupted] && bell.cancelled.withLock { $0 } == 1)
    #expect(asker.code(CancelWait(first)) == .notFound)
    #expect(asker.code(WriteInstance(instance, position: 0, data: [1])) == .ok)
    simulator.run(for: .seconds(1))
    #expect(answers.value["second"] == .ok && manager.waitCount == 1)
    #expect(asker.code(ReleaseInstance(instance)) == .ok)
    simulator.run(for: .seconds(1))
    #expect(answers.value["third"] == .invalidFileID && manager.waitCount == 0)
    #expect(answers.value.count == 3)
    #expect(bell.closed.withLock { $0 } == 1 && manager.instanceCount == 0)
  }

  @Test("C5: ends the instances and waits of a dead process, and of a host that fell silent")
  func owners() throws {
    let bell = Bell()
    let manager = TreeManager(moa, TreeContext([("bell", .file(bell))]))
    let asker = TreeAsker(kea, of: manager.server, simulator)
    let owner = kea.makeClient(user: "ann")
    let client = kea.makeClient(user: "ann")
    let open = CreateInstance(asker.name("bell"), mode: .read, owner: owner)
    guard case .done(let opened, _) = asker.ask(open) else {
      Issue.record("not opened")
      return
    }
    kea.send(
      ReadInstance(opened.instance, position: 0, count: 1), from: client, to: manager.server
    ) { _ in }
    simulator.run(for: .seconds(9))
    #expect(manager.waitCount == 1)
    kea.retire(owner)
    simulator.run(for: .seconds(5))
    #expect(manager.waitCount == 0 && manager.instanceCount == 0)
    #expect(asker.open("bell", .read) != nil)
    simulator.crash("kea")
    simulator.run(for: .seconds(14))
    #expect(manager.instanceCount == 0 && bell.closed.withLock { $0 } == 2)
  }

  @Test("gives its reason in words, with the code and in the text; others do not see it")
  func words() throws {
    let text = TreeText(
      access: TreeAccess(owner: "ann", permissions: 0o644),
      command: { [moa] line, done in
        // A later answer works too.
        moa.after(.milliseconds(10)) {
          done(line.text == "go" ? nil : Refusal(.badArguments, "go, not \(line.text)"))
        }
      }
    ) { "go\n" }
    let manager = TreeManager(moa, TreeContext([("ctl", .text(text))]))
    let ann = TreeAsker(kea, of: manager.server, simulator)
    let instance = try #require(ann.open("ctl", .write))
    let client = kea.makeClient(user: "ann")
    let response: Response? = outcome(simulator) {
      kea.send(
        WriteInstance(instance, position: 0, data: Array("stop\n".utf8)).message, from: client,
        to: manager.server, options: SendOptions(), completion: $0)
    }
    #expect(response?.code == .badArguments)
    #expect(response?.message.segment == Array("go, not stop".utf8))
    #expect(ann.text("ctl") == "go\nrefused: go, not stop\n")
    let bob = TreeAsker(kea, of: manager.server, simulator, as: "bob")
    #expect(bob.text("ctl") == "go\n")
    #expect(ann.write("go\nstop\n", to: "ctl") == .badArguments)
    #expect(ann.text("ctl") == "go\nrefused: one line of text at a time\n")
    #expect(bob.code(CreateInstance(bob.name("ctl"), mode: .write)) == .noPermission)
    #expect(ann.write("go\n", to: "ctl") == .ok)
    #expect(ann.text("ctl") == "go\n")
    // Root of another host is nobody here; root of this one is root.
    let roots = [kea, moa].map { TreeAsker($0, of: manager.server, simulator, as: "root") }
    #expect(roots.map { $0.write("go\n", to: "ctl") } == [nil, .ok])
  }

  @Test("looks up, lists and makes only when its contexts have prepared")
  func prepares() {
    let known = Shared<Set<Name>>([])
    var context = TreeContext(
      names: { known.value.sorted() },
      object: { known.value.contains($0) ? .text(TreeText { "here\n" }) : nil })
    context.prepare = { [moa] name, caller, done in
      moa.after(.milliseconds(10)) {
        known.value.formUnion(name == nil ? ["far", "near"] : ["near"])
        done(caller.user == "eve" ? Refusal(.busy, "too much") : nil)
      }
    }
    let manager = TreeManager(moa, TreeContext([("group", .context(context))]))
    let asker = TreeAsker(kea, of: manager.server, simulator)
    #expect(asker.text("group/near") == "here\n")
    #expect(asker.code(QueryObject(asker.name("group/far"))) == .notFound)
    #expect(asker.names("group") == ["far", "near"])
    #expect(asker.text("group/far") == "here\n")
    #expect(
      asker.code(AddName(asker.name("group/new"), kind: .context, permissions: 0o755)) == .notOwner)
    #expect(asker.code(QueryObject(asker.name("group/near/x"))) == .notContext)
    // An object that a prepare refuses is neither looked up nor listed.
    let eve = TreeAsker(kea, of: manager.server, simulator, as: "eve")
    #expect(eve.code(QueryObject(eve.name("group/near"))) == .busy)
    #expect(eve.code(CreateInstance(eve.name("group"), mode: [.read, .directory])) == .busy)
  }
}

@Suite("The RAM file server in the simulator")
struct RAMFileServerTests {
  private let simulator = Simulator(seed: 12)
  private let ann: TreeAsker
  private let bob: TreeAsker

  init() {
    let server = RAMFileServer(simulator.start("moa"), prefix: "ram")
    let kea = simulator.start("kea")
    ann = TreeAsker(kea, of: server.manager.server, simulator)
    bob = TreeAsker(kea, of: server.manager.server, simulator, as: "bob")
  }

  @Test("keeps written octets at their positions")
  func files() throws {
    let file = try #require(ann.open("notes", [.read, .write, .create]))
    for (position, text) in [(0, "hello"), (8, "world"), (3, "p!")] {
      let write = WriteInstance(file, position: UInt64(position), data: Array(text.utf8))
      #expect(ann.code(write) == .ok)
    }
    #expect(ann.read(file) == Array("help!\0\0\0world".utf8))
    #expect(ann.read(file, at: 8) == Array("world".utf8))
    #expect(ann.read(file, at: .max) == [])
    #expect(ann.write("!!", to: "notes", [.write, .append]) == .ok)
    #expect(ann.text("notes") == "help!\0\0\0world!!")
    var cut = Modification()
    cut.size = 4
    #expect(ann.code(ModifyInstance(file, cut)) == .ok)
    #expect(ann.text("notes") == "help")
    #expect(ann.write("new", to: "notes", [.write, .truncate]) == .ok)
    #expect(ann.text("notes") == "new")
    cut.size = 1 << 40
    #expect(ann.code(ModifyInstance(file, cut)) == .noSpace)
    #expect(
      ann.code(WriteInstance(file, position: .max, data: [1])) == .noSpace)
    #expect(ann.text("notes") == "new")
  }

  @Test("makes and removes names, for users with the right")
  func names() throws {
    #expect(ann.code(AddName(ann.name("d"), kind: .context, permissions: 0o755)) == .ok)
    #expect(ann.write("x", to: "d/f", [.write, .create]) == .ok)
    #expect(
      ann.code(
        AddName(ann.name("d/l"), kind: .symbolicLink, permissions: 0o777, target: Array("f".utf8)))
        == .ok)
    #expect(bob.text("d/f") == "x" && bob.names("d") == ["f", "l"])
    guard case .done(let target, _) = bob.ask(ReadLink(bob.name("d/l"))) else {
      Issue.record("no link")
      return
    }
    #expect(target.data == Array("f".utf8))
    #expect(bob.code(CreateInstance(bob.name("d/f"), mode: .write)) == .noPermission)
    #expect(bob.code(CreateInstance(bob.name("d/g"), mode: [.write, .create])) == .noPermission)
    #expect(bob.code(RemoveName(bob.name("d/f"), isContext: false)) == .noPermission)
    // The root is sticky: names are their owners'.
    #expect(bob.code(RemoveName(bob.name("d"), isContext: true)) == .notOwner)
    #expect(ann.code(RemoveName(ann.name("d"), isContext: true)) == .contextNotEmpty)
    #expect(ann.code(RemoveName(ann.name("d/f"), isContext: true)) == .notContext)
    #expect(ann.code(AddName(ann.name("d"), kind: .context, permissions: 0)) == .duplicateName)
    func rename(_ old: String, _ new: String, _ mode: RenameObject.Mode = .replace) -> ReplyCode? {
      ann.code(RenameObject(ann.name(old), to: .none, Array(new.utf8), mode: mode))
    }
    #expect(rename("d/f", "d/l", .noReplace) == .duplicateName)
    #expect(rename("d/f", "d/g") == .ok && ann.names("d") == ["g", "l"])
    #expect(rename("d/g", "f") == .differentManager && rename("d/x", "d/y") == .notFound)
    // The new name leads nowhere for this reason.
    #expect(rename("d/g", "d/g/x") == .notContext && rename("d/g", "x/y") == .notFound)
    #expect(rename("d/g", "d/f") == .ok && ann.text("d/f") == "x")
    for (name, isContext) in [("d/f", false), ("d/l", false), ("d", true)] {
      #expect(ann.code(RemoveName(ann.name(name), isContext: isContext)) == .ok)
    }
    #expect(ann.names("") == [])
  }

  @Test("never takes a new file for an old one, and frees the room of a removed one")
  func identities() throws {
    func identity(_ path: String) -> Descriptor.Identity? {
      guard case .done(let record, _) = ann.ask(QueryObject(ann.name(path))) else { return nil }
      return record.identity
    }
    var large = Modification()
    large.size = 12 << 20
    for round in 0..<3 {
      let file = try #require(ann.open("big", [.write, .create]), "\(round)")
      #expect(ann.code(ModifyInstance(file, large)) == .ok)
      let before = identity("big")
      // Without a name it lasts as long as it is open.
      #expect(ann.code(RemoveName(ann.name("big"), isContext: false)) == .ok)
      #expect(ann.write("y", to: "big", [.write, .create]) == .ok)
      #expect(identity("big") != before)
      #expect(ann.code(ReleaseInstance(file)) == .ok)
      #expect(ann.code(RemoveName(ann.name("big"), isContext: false)) == .ok)
    }
  }
}
