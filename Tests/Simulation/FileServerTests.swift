import NetworkFaults
import Testing
import VClient
import VFileServer
import VNode
import VProtocol
import VRuntime
import VStore

/// A client of file servers: finds a name, opens it, reads it whole, releases it.
final class FileReader: Sendable {
  let clients: ClientPool
  let names: NameCache
  /// The prefix used last, as a program's own cache.
  private let last = Shared<(prefix: [UInt8], answer: QueryName.Answer)?>(nil)

  init(_ node: Node) {
    clients = ClientPool(node)
    names = NameCache(node, clients: clients)
  }

  /// The octets of the file `name`, or the refusal.
  func read(_ name: String, completion: @escaping @Sendable (Answer<[UInt8]>) -> Void) {
    let bytes = Array(name.utf8)
    if let last = last.value, bytes.starts(with: last.prefix) {
      return open(bytes, last.answer, completion)
    }
    names.query(bytes) { [self] answer in
      switch answer {
      case .refused(let refusal): completion(.refused(refusal))
      case .done(let found, _):
        last.value = (Array(bytes[..<found.prefixBytes]), found)
        open(bytes, found, completion)
      }
    }
  }

  private func open(
    _ name: [UInt8], _ binding: QueryName.Answer,
    _ completion: @escaping @Sendable (Answer<[UInt8]>) -> Void
  ) {
    let rest = Array(name.dropFirst(binding.prefixBytes + 1))
    clients.send(
      CreateInstance(ContextName(binding.context, rest), mode: .read), as: "ann",
      to: binding.manager
    ) { [self] answer in
      switch answer {
      case .refused(let refusal): completion(.refused(refusal))
      case .done(let opened, _):
        readOn(opened.instance, of: binding.manager, [], completion)
      }
    }
  }

  private func readOn(
    _ instance: InstanceID, of manager: EntityID, _ soFar: [UInt8],
    _ completion: @escaping @Sendable (Answer<[UInt8]>) -> Void
  ) {
    clients.send(
      ReadInstance(instance, position: UInt64(soFar.count), count: 16_384), as: "ann", to: manager
    ) { [self] answer in
      switch answer {
      case .refused(let refusal): completion(.refused(refusal))
      case .done(let block, _) where block.data.isEmpty:
        clients.send(ReleaseInstance(instance), as: "ann", to: manager) { _ in
          completion(.done(soFar, by: manager))
        }
      case .done(let block, _):
        readOn(instance, of: manager, soFar + block.data, completion)
      }
    }
  }
}

/// Starts a host that serves an in-memory store with some files as `storage/<host>`.
func startFileHost(
  _ host: String, in simulator: Simulator, files: [String: [UInt8]]
) throws -> (node: Node, fileServer: FileServer, store: MemoryStore) {
  let node = simulator.start(host)
  let store = MemoryStore()
  let root = try store.openRoot("/")
  for (name, bytes) in files {
    let file = try store.create(
      Array(name.utf8), in: root, .write, permissions: 0o644, as: .root)
    _ = try store.write(file, bytes, at: 0, .write, as: .root, .mayWait)
    store.close(file)
  }
  let fileServer = try FileServer(
    node, store: store, users: FixedUsers(),
    exports: [Export(prefix: Array("storage/\(host)".utf8), path: "/", rootHosts: ["*"])])
  return (node, fileServer, store)
}

@Suite("The file server in the simulator")
struct FileServerTests {
  static let big = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 8) }

  @Test(
    "a file of one host is read correctly on another, under loss, duplication, delay",
    arguments: seeds)
  func readUnderFaults(seed: UInt64) throws {
    let simulator = Simulator(seed: seed)
    let moa = try startFileHost(
      "moa", in: simulator, files: ["hello": Array("hello\n".utf8), "big": Self.big])
    let kea = simulator.start("kea")
    simulator.faults = Faults(loss: 5, duplication: 2, reordering: 10)
    let reader = FileReader(kea)
    let results = Shared<[String: Answer<[UInt8]>]>([:])
    for name in ["hello", "big", "none"] {
      reader.read("storage/moa/\(name)") { results.value[name] = $0 }
    }
    let isDone = simulator.run(for: .seconds(60)) { results.value.count == 3 }
    #expect(isDone, "replay with V_SEED=\(seed)")
    #expect(results.value["hello"]?.bytes == Array("hello\n".utf8), "V_SEED=\(seed)")
    let big = results.value["big"]
    #expect(big?.bytes == Self.big, "\(String(describing: big?.code)), V_SEED=\(seed)")
    #expect(results.value["none"]?.code == .notFound, "V_SEED=\(seed)")
    #expect(simulator.packetsLost > 0)
    _ = moa
  }

  @Test("instances of a dead process are closed within 5 s, of a silent host after 10 s")
  func deadOwners() throws {
    let simulator = Simulator(seed: 8)
    let moa = try startFileHost("moa", in: simulator, files: ["hello": [1, 2, 3]])
    let kea = simulator.start("kea")
    let reader = FileReader(kea)
    func open(by owner: EntityID) throws {
      let isOpen = outcome(simulator) { completion in
        reader.names.query(Array("storage/moa".utf8)) { answer in
          guard case .done(let binding, _) = answer else { return completion(false) }
          reader.clients.send(
            CreateInstance(
              ContextName(binding.context, Array("hello".utf8)), mode: .read, owner: owner),
            as: "ann", to: binding.manager
          ) { answer in completion(answer.refusal == nil) }
        }
      }
      #expect(isOpen == true)
    }
    let (first, second) = (kea.makeClient(user: "ann"), kea.makeClient(user: "ann"))
    try open(by: first)
    try open(by: second)
    #expect(moa.fileServer.instanceCount == 2)
    simulator.run(for: .seconds(20))
    #expect(moa.fileServer.instanceCount == 2, "the living keep theirs")
    kea.retire(first)
    simulator.run(for: .seconds(5))
    #expect(moa.fileServer.instanceCount == 1)
    simulator.crash("kea")
    simulator.run(for: .seconds(8))
    #expect(moa.fileServer.instanceCount == 1, "a host may be away for a moment")
    simulator.run(for: .seconds(9))
    #expect(moa.fileServer.instanceCount == 0)
  }

  @Test("a link needs the right to read and write the file, whatever the disk allows")
  func links() throws {
    let simulator = Simulator(seed: 9)
    let moa = simulator.start("moa")
    let store = MemoryStore()
    let root = try store.openRoot("/")
    let ann = Credentials(uid: 1, gid: 1)
    for (name, permissions) in [("secret", 0o600), ("open", 0o666)] as [(String, UInt32)] {
      store.close(
        try store.create(Array(name.utf8), in: root, .write, permissions: permissions, as: ann))
    }
    let fileServer = try FileServer(
      moa, store: store, users: FixedUsers(ids: ["root": 0, "ann": 1, "bob": 2]),
      exports: [Export(prefix: Array("storage/moa".utf8), path: "/")])
    let kea = FileReader(simulator.start("kea"))
    func code(linking name: String) -> ReplyCode? {
      outcome(simulator) { completion in
        kea.names.query(Array("storage/moa".utf8)) { answer in
          guard case .done(let binding, _) = answer else { return completion(.userTimeout) }
          func at(_ name: String) -> ContextName {
            ContextName(binding.context, Array(name.utf8))
          }
          let new = at("new-\(name)")
          kea.clients.send(QueryObject(at(name)), as: "bob", to: binding.manager) { answer in
            guard case .done(let object, _) = answer else { return completion(.userTimeout) }
            kea.clients.send(
              LinkName(new, object: object.context), as: "bob", to: binding.manager
            ) { answer in completion(answer.refusal ?? .ok) }
          }
        }
      }
    }
    #expect(code(linking: "secret") == .notOwner)
    #expect(code(linking: "open") == .ok)
    _ = fileServer
  }

  @Test("a name that no manager serves does not exist")
  func unknownPrefix() throws {
    let simulator = Simulator(seed: 1)
    let moa = try startFileHost("moa", in: simulator, files: [:])
    let reader = FileReader(simulator.start("kea"))
    let result = Shared<Answer<[UInt8]>?>(nil)
    reader.read("storage/tui/x") { result.value = $0 }
    simulator.run(for: .seconds(5)) { result.value != nil }
    #expect(result.value?.code == .notFound)
    _ = moa
  }

  @Test("calls on files of a silent host fail with its being down")
  func silentHost() throws {
    let simulator = Simulator(seed: 2)
    let moa = try startFileHost("moa", in: simulator, files: ["hello": [1, 2, 3]])
    let reader = FileReader(simulator.start("kea"))
    let results = Shared<[Answer<[UInt8]>]>([])
    reader.read("storage/moa/hello") { results.value.append($0) }
    simulator.run(for: .seconds(5)) { results.value.count == 1 }
    #expect(results.value.first?.bytes == [1, 2, 3])
    simulator.crash("moa")
    reader.read("storage/moa/hello") { results.value.append($0) }
    simulator.run(for: .seconds(5)) { results.value.count == 2 }
    #expect(results.value.last?.code == .retransmissionTimeout)
    _ = moa
  }
}

extension Answer where Value == [UInt8] {
  var bytes: [UInt8]? {
    if case .done(let bytes, _) = self { return bytes }
    return nil
  }
  var code: ReplyCode? {
    if case .refused(let refusal) = self { return refusal.code }
    return nil
  }
}
