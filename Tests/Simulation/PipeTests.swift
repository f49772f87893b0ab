import NetworkFaults
import Testing
import VNode
import VPipeServer
import VProtocol
import VRuntime

/// A client of the pipes of one host, with one wait at a time.
private final class PipeUser: Sendable {
  let node: Node
  let manager: EntityID
  let owner: EntityID
  let clients: ClientPool
  let instance = Shared<InstanceID?>(nil)
  let data = Shared<[UInt8]>([])
  let blocks = Shared(0)
  let end = Shared<ReplyCode?>(nil)

  init(_ node: Node, of manager: EntityID) {
    self.node = node
    self.manager = manager
    owner = node.makeClient(user: "root")
    clients = ClientPool(node)
  }

  private func ask<Op: VProtocol.Operation>(
    _ operation: Op, _ then: @escaping @Sendable (Op.Answer) -> Void
  ) {
    clients.send(operation, as: "ann", to: manager) { [self] answer in
      switch answer {
      case .done(let value, _): then(value)
      case .refused(let refusal): end.value = refusal.code
      }
    }
  }

  func open(_ name: String, _ mode: OpenMode, _ then: @escaping @Sendable () -> Void = {}) {
    ask(
      CreateInstance(
        ContextName(.none, Array(name.utf8)), mode: mode, permissions: 0o666, owner: owner)
    ) { [self] answer in
      instance.value = answer.instance
      then()
    }
  }

  func release() {
    ask(ReleaseInstance(instance.value!)) { [self] _ in end.value = .ok }
  }

  /// Reads to the end.
  func read(count: Int = 16_384) {
    ask(ReadInstance(instance.value!, position: 0, count: count)) { [self] block in
      guard !block.data.isEmpty else { return release() }
      data.value += block.data
      blocks.value += 1
      read(count: count)
    }
  }

  /// Writes blocks of these sizes, numbered from the start, and closes.
  func write(_ sizes: ArraySlice<Int>) {
    guard let size = sizes.first else { return release() }
    let block = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ sizes.startIndex) }
    ask(WriteInstance(instance.value!, position: 0, data: block)) { [self] answer in
      #expect(answer.count == size)
      data.value += block
      write(sizes.dropFirst())
    }
  }
}

@Suite("Pipes in the simulator")
struct PipeSimulationTests {
  private func make(_ simulator: Simulator) -> PipeServer {
    let server = PipeServer(simulator.start("moa"))
    let maker = PipeUser(simulator.machines[0].node!, of: server.server)
    maker.open("p", [.write, .create]) { maker.release() }
    simulator.run(for: .seconds(5)) { maker.end.value != nil }
    #expect(maker.end.value == .ok)
    return server
  }

  @Test(
    "tui reads what kea writes, under loss, duplication and delay", arguments: seeds)
  func sums(seed: UInt64) {
    let simulator = Simulator(seed: seed)
    let server = make(simulator)
    let writer = PipeUser(simulator.start("kea"), of: server.server)
    let reader = PipeUser(simulator.start("tui"), of: server.server)
    simulator.faults = Faults(loss: 5, duplication: 2, reordering: 10)
    let sizes = (0..<60).map { _ in Int(simulator.random() % 16_384) + 1 }
    reader.open("p", .read) { reader.read() }
    writer.open("p", .write) { writer.write(sizes[...]) }
    simulator.run(for: .seconds(60)) { reader.end.value != nil && writer.end.value != nil }
    #expect(reader.end.value == .ok && writer.end.value == .ok, "V_SEED=\(seed)")
    #expect(reader.data.value == writer.data.value, "V_SEED=\(seed)")
    #expect(reader.blocks.value == 60 && reader.data.value.count == sizes.reduce(0, +))
    #expect(server.instanceCount == 0 && server.waitCount == 0)
  }

  @Test("a writer's host that dies is the end of the file, a reader's a broken pipe")
  func crash() {
    for isWriter in [true, false] {
      let simulator = Simulator(seed: 5)
      let server = make(simulator)
      let kea = PipeUser(simulator.start("kea"), of: server.server)
      let tui = PipeUser(simulator.start("tui"), of: server.server)
      kea.open("p", isWriter ? .write : .read)
      tui.open("p", isWriter ? .read : .write)
      simulator.run(for: .seconds(5)) { kea.instance.value != nil && tui.instance.value != nil }
      let blocks = [Int](repeating: 16_384, count: 9)
      if isWriter { tui.read() } else { tui.write(blocks[...]) }
      simulator.run(for: .seconds(1))
      #expect(tui.end.value == nil)
      simulator.crash("kea")
      simulator.run(for: .seconds(30)) { tui.end.value != nil }
      #expect(tui.end.value == (isWriter ? .ok : .brokenPipe))
    }
  }

  @Test("nonsense is refused, and so is an owner whose name fits no descriptor")
  func refusals() {
    let simulator = Simulator(seed: 8)
    let server = make(simulator)
    let user = PipeUser(simulator.machines[0].node!, of: server.server)
    func code(_ operation: some VProtocol.Operation, as name: String = "ann") -> ReplyCode? {
      let response = Shared<ReplyCode?>(nil)
      user.clients.send(operation, as: ClientUser(own: name), to: server.server) { answer in
        response.value = answer.refusal ?? .ok
      }
      simulator.run(for: .seconds(10)) { response.value != nil }
      return response.value
    }
    func name(_ name: String) -> ContextName { ContextName(.none, Array(name.utf8)) }
    let long = String(repeating: "x", count: 256)
    #expect(code(CreateInstance(name("q"), mode: [.write, .create]), as: long) == .noPermission)
    #expect(code(CreateInstance(name(long), mode: [.write, .create])) == .nameTooLong)
    #expect(code(CreateInstance(name("p/q"), mode: [.write, .create])) == .notContext)
    #expect(code(CreateInstance(name("q/r"), mode: [.write, .create])) == .notFound)
    #expect(code(CreateInstance(name("q"), mode: .read)) == .notFound)
    #expect(code(CreateInstance(name("p"), mode: [])) == .modeNotSupported)
    #expect(code(CreateInstance(name("p"), mode: .execute)) == .noPermission)
    #expect(code(CreateInstance(name(""), mode: .read)) == .isContext)
    #expect(
      code(CreateInstance(name("p"), mode: [.write, .create, .exclusive])) == .duplicateName)
    #expect(code(ReadInstance(InstanceID(rawValue: 77), position: 0, count: 9)) == .invalidFileID)
    #expect(code(RemoveName(name("p"), isContext: false), as: "eve") == .notOwner)
    #expect(code(RemoveName(name(""), isContext: true), as: "root") == .notOwner)
    #expect(code(AddName(name("q"), kind: .fifo, permissions: 0o666)) == .notSupported)
    var modification = Modification()
    modification.permissions = 0o600
    #expect(code(ModifyObject(name("p"), modification), as: "eve") == .notOwner)
    #expect(code(ModifyObject(name("p"), modification)) == .ok)
    #expect(code(CreateInstance(name("p"), mode: .read), as: "eve") == .noPermission)
    modification.owner = "eve"
    #expect(code(ModifyObject(name("p"), modification)) == .notOwner)
    #expect(code(ModifyObject(name("p"), modification), as: "root") == .ok)
    #expect(code(RemoveName(name("p"), isContext: false), as: "eve") == .ok)
    #expect(server.instanceCount == 0 && server.waitCount == 0)
  }

  @Test("a wait is ended by its client only; a wait for a dead end goes on")
  func cancel() {
    let simulator = Simulator(seed: 6)
    let server = make(simulator)
    let kea = PipeUser(simulator.start("kea"), of: server.server)
    let client = kea.node.makeClient(user: "ann")
    let code = Shared<ReplyCode?>(nil)
    kea.node.send(
      CreateInstance(ContextName(.none, [UInt8(ascii: "p")]), mode: .read, owner: kea.owner),
      from: client, to: server.server
    ) { answer in
      if case .refused(let refusal) = answer { code.value = refusal.code }
    }
    simulator.run(for: .seconds(1))
    #expect(server.waitCount == 1)
    func cancel(as user: String) -> ReplyCode? {
      let answer: Answer<Done>? = outcome(simulator) {
        kea.clients.send(
          CancelWait(client), as: ClientUser(own: user), to: server.server, completion: $0)
      }
      return answer?.refusal ?? .ok
    }
    #expect(cancel(as: "eve") == .notFound && code.value == nil)
    #expect(cancel(as: "ann") == .ok && server.waitCount == 0)
    // Two answers, of which either may arrive first.
    simulator.run(for: .seconds(1)) { code.value != nil }
    #expect(code.value == .interrupted)
    #expect(cancel(as: "ann") == .notFound)
    // An opening ends with its host.
    kea.open("p", .read)
    simulator.run(for: .seconds(1))
    #expect(server.waitCount == 1)
    simulator.crash("kea")
    simulator.run(for: .seconds(30)) { server.waitCount == 0 }
    #expect(server.waitCount == 0 && server.instanceCount == 0)
  }
}
