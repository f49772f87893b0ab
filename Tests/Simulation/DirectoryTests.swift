import NetworkFaults
import Testing
import VDirectory
import VFileServer
import VKernel
import VNode
import VProtocol
import VRuntime
import VStore

/// A host with a directory and a file server that claims `prefixes`.
final class ClaimingHost: Sendable {
  let node: Node
  let directory: Directory
  let fileServer: FileServer
  let clients: ClientPool
  let refusals = Shared<[ReplyCode]>([])
  /// How often a claim was accepted.
  let claimed = Shared(0)

  init(
    _ host: String, in simulator: Simulator, prefixes: [String]? = nil,
    claims: Shared<[UInt8]>? = nil, disk: MemoryStore? = nil, node: Node? = nil,
    notes: Shared<[String]>? = nil
  ) throws {
    let prefixes = prefixes ?? ["storage/\(host)"]
    self.node = node ?? simulator.start(host)
    self.node.announce()
    directory = Directory(
      self.node,
      store: claims.map { claims in
        ClaimStore(load: { claims.value }, save: { claims.value = $0 })
      }, note: { notes?.value.append($0) })
    let store = try disk ?? Self.disk(["hello": Array(host.utf8)])
    fileServer = try FileServer(
      self.node, store: store, users: FixedUsers(),
      exports: prefixes.map {
        Export(prefix: Array($0.utf8), path: "/", rootHosts: ["*"])
      })
    clients = ClientPool(self.node)
    let left = Shared(prefixes.count)
    if prefixes.isEmpty { directory.withdrawEarlierClaims() }
    fileServer.claim(in: directory.server) { [refusals, claimed, directory] _, code in
      if code.isOK { claimed.value += 1 } else { refusals.value.append(code) }
      left.value -= 1
      if left.value == 0 { directory.withdrawEarlierClaims() }
    }
  }

  /// A disk with these files.
  static func disk(
    _ files: [String: [UInt8]], permissions: UInt32 = 0o644
  ) throws -> MemoryStore {
    let store = MemoryStore()
    let root = try store.openRoot("/")
    for (name, bytes) in files {
      let file = try store.create(
        Array(name.utf8), in: root, .write, permissions: permissions, as: .root)
      _ = try store.write(file, bytes, at: 0, .write, as: .root, .mayWait)
      store.close(file)
    }
    return store
  }

  /// Walks `path` from the root of the name space, component by component, as a mount does.
  func walk(_ path: String, _ completion: @escaping @Sendable (Answer<Descriptor>) -> Void) {
    step(
      path.split(separator: "/").map { Array($0.utf8) }[...], directory.server,
      directory.nameSpace.root,
      completion)
  }

  private func step(
    _ rest: ArraySlice<[UInt8]>, _ manager: EntityID, _ context: ContextID,
    _ completion: @escaping @Sendable (Answer<Descriptor>) -> Void
  ) {
    clients.send(
      QueryObject(ContextName(context, rest.first ?? [])), as: "root", to: manager
    ) { [self] answer in
      guard case .done(let descriptor, let server) = answer, rest.count > 1 else {
        return completion(answer)
      }
      step(rest.dropFirst(), server, descriptor.context, completion)
    }
  }

  /// The answer of this host's directory to `operation`; nil after 10 simulated seconds.
  func code(of operation: some Operation, _ simulator: Simulator) -> ReplyCode? {
    outcome(simulator) { completion in
      clients.send(operation, as: "root", to: directory.server) { answer in
        completion(answer.refusal ?? .ok)
      }
    }
  }

  /// The names in the shared context `path`.
  func list(_ path: String, _ completion: @escaping @Sendable ([String]) -> Void) {
    walk(path) { [self] answer in
      guard case .done(let descriptor, let server) = answer else { return completion([]) }
      let opening = CreateInstance(ContextName(descriptor.context), mode: [.read, .directory])
      clients.send(opening, as: "root", to: server) { [self] answer in
        guard case .done(let opened, _) = answer else { return completion([]) }
        list(opened.instance, of: server, behind: [], from: 0) { [self] names in
          clients.send(ReleaseInstance(opened.instance), as: "root", to: server) { _ in }
          completion(names)
        }
      }
    }
  }

  private func list(
    _ instance: InstanceID, of server: EntityID, behind front: [String], from position: UInt64,
    _ completion: @escaping @Sendable ([String]) -> Void
  ) {
    clients.send(
      ReadInstance(instance, position: position, count: 16_384), as: "root", to: server
    ) { [self] answer in
      guard case .done(let block, _) = answer else { return completion([]) }
      var reader = SegmentReader(block.data)
      var names = front
      var next = position
      while reader.remaining > 0, let entry = try? Descriptor(parsing: &reader) {
        names.append(String(decoding: entry.name, as: UTF8.self))
        next = entry.nextPosition
      }
      if block.data.isEmpty { return completion(names) }
      list(instance, of: server, behind: names, from: next, completion)
    }
  }
}

/// The outcome of `body`, which calls its argument once, or nil after 10 simulated seconds.
func outcome<Value: Sendable>(
  _ simulator: Simulator, _ body: (@escaping @Sendable (Value) -> Void) -> Void
) -> Value? {
  let result = Shared<Value?>(nil)
  body { result.value = $0 }
  simulator.run(for: .seconds(10)) { result.value != nil }
  return result.value
}

@Suite("Directories and claims in the simulator")
struct DirectoryTests {
  @Test("every host lists every claim, and self and any lead to hosts", arguments: seeds)
  func listing(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    simulator.faults = Faults(loss: 5, duplication: 5, reordering: 10)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    // Claims that are lost at first come with the next spreading.
    simulator.run(for: .seconds(100))
    let root = outcome(simulator) { kea.list("", $0) }
    #expect(root == ["storage"], "V_SEED=\(seed)")
    for host in [kea, moa] {
      let names = outcome(simulator) { host.list("storage", $0) }
      #expect(Set(names ?? []) == ["kea", "moa", "self", "any"], "V_SEED=\(seed)")
    }
  }

  @Test("a request for a claimed prefix is answered by its manager on another host")
  func forwarding() throws {
    let simulator = Simulator(seed: 2)
    let kea = try ClaimingHost("kea", in: simulator)
    let moa = try ClaimingHost("moa", in: simulator)
    simulator.run(for: .seconds(1))
    let answer = outcome(simulator) { kea.walk("storage/moa/hello", $0) }
    guard case .done(let descriptor, let server) = answer else {
      Issue.record("not found: \(String(describing: answer))")
      return
    }
    #expect(descriptor.size == 3)
    #expect(server.kernel == moa.node.id)
  }

  @Test("an unknown name is asked for by one multicast, and its absence is remembered")
  func unknownName() throws {
    let simulator = Simulator(seed: 3)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(1))
    let before = kea.node.counters.multicastsSent
    let first = outcome(simulator) { kea.walk("src", $0) }
    #expect(first?.refusal == .notFound)
    #expect(kea.node.counters.multicastsSent > before)
    let after = kea.node.counters.multicastsSent
    #expect(outcome(simulator) { kea.walk("src", $0) }?.refusal == .notFound)
    #expect(outcome(simulator) { kea.walk(".git", $0) }?.refusal == .notFound)
    #expect(kea.node.counters.multicastsSent == after)
  }

  @Test("a prefix that another host serves is refused; that of a dead host may be taken over")
  func duplicateClaim() throws {
    let simulator = Simulator(seed: 4)
    let moa = try ClaimingHost("moa", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(1))
    let kea = try ClaimingHost("kea", in: simulator, prefixes: ["src"])
    simulator.run(for: .seconds(5))
    #expect(kea.refusals.value == [.duplicateName], "moa serves it, and says so itself")
    #expect(moa.refusals.value.isEmpty)
    let tui = try ClaimingHost("tui", in: simulator, prefixes: [])
    simulator.run(for: .seconds(5))
    tui.fileServer.claim(in: tui.directory.server) { _, _ in }
    let late = try ClaimingHost("rob", in: simulator, prefixes: [])
    simulator.run(for: .seconds(2))
    let claim = ClaimName(
      prefix: Array("src".utf8), context: ContextID(rawValue: 9), manager: late.directory.server)
    let code = late.code(of: claim, simulator)
    #expect(code == .duplicateName)
    simulator.crash("kea")
    simulator.crash("moa")
    let taken = late.code(of: claim, simulator)
    #expect(taken == .ok)
    _ = (moa, kea)
  }

  @Test("changes of shared contexts are refused, with the reason")
  func fixed() throws {
    let simulator = Simulator(seed: 5)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(1))
    let root = ContextName(kea.directory.nameSpace.root, Array("storage".utf8))
    func code(_ operation: some Operation) -> ReplyCode? { kea.code(of: operation, simulator) }
    #expect(code(RemoveName(root, isContext: true)) == .notOwner)
    #expect(code(AddName(root, kind: .context, permissions: 0o755)) == .duplicateName)
    let new = ContextName(kea.directory.nameSpace.root, Array("new".utf8))
    #expect(code(AddName(new, kind: .context, permissions: 0o755)) == .notOwner)
    let host = ContextName(kea.directory.nameSpace.root, Array("storage/kea".utf8))
    #expect(code(RemoveName(host, isContext: true)) == .notOwner)
    #expect(code(CheckAccess(root, mask: 2)) == .noPermission)
    #expect(code(CheckAccess(root, mask: 5)) == .ok)
  }

  @Test("what others have interpreted of a name may end in front of a slash or behind it")
  func index() throws {
    let simulator = Simulator(seed: 6)
    let kea = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(1))
    for (octets, index, expected) in [
      ("top/storage", 3, ReplyCode.ok), ("top/storage", 4, .ok), ("top/storage/kea/hello", 3, .ok),
      ("top/", 3, .ok), ("/storage", 0, .notFound), ("top//storage", 3, .notFound),
    ] {
      let name = ContextName(kea.directory.nameSpace.root, Array(octets.utf8), index: index)
      #expect(kea.code(of: QueryObject(name), simulator) == expected, "\(octets), \(index)")
    }
  }
}

extension Answer {
  var refusal: ReplyCode? {
    if case .refused(let refusal) = self { return refusal.code }
    return nil
  }
}
