import Testing
import VNode
import VPipeServer
import VProtocol
import VRuntime

/// Uses the pipes of one host as different users.
private final class Asker {
  let simulator: Simulator
  let server: PipeServer

  init(_ simulator: Simulator, _ server: PipeServer) {
    self.simulator = simulator
    self.server = server
  }

  func answer<Op: VProtocol.Operation>(
    _ operation: Op, as user: ClientUser, from node: Node
  ) -> Answer<Op.Answer>? {
    let clients = ClientPool(node)
    return outcome(simulator) {
      clients.send(operation, as: user, to: server.server, completion: $0)
    }
  }

  func code(
    _ operation: some VProtocol.Operation, as user: ClientUser, from node: Node
  ) -> ReplyCode? {
    answer(operation, as: user, from: node).map { $0.refusal ?? .ok }
  }

  /// The answer of an operation that must succeed.
  func done<Op: VProtocol.Operation>(
    _ operation: Op, as user: ClientUser, from node: Node
  ) throws -> Op.Answer {
    let answer = answer(operation, as: user, from: node)
    guard case .done(let value, _) = answer else {
      throw Undone(answer: "\(operation): \(String(describing: answer))")
    }
    return value
  }

  private struct Undone: Error { var answer: String }
}

private func name(_ text: String) -> ContextName { ContextName(.none, Array(text.utf8)) }

@Suite("Rights and shares of pipes, in the simulator")
struct PipeRightsTests {
  @Test("only the principal that opened an instance can use it")
  func instances() throws {
    let simulator = Simulator(seed: 41)
    let moa = simulator.start("moa")
    let (kea, asker) = (simulator.start("kea"), Asker(simulator, PipeServer(moa)))
    let making = CreateInstance(name("p"), mode: [.read, .write, .create], permissions: 0o600)
    let instance = try asker.done(making, as: "root", from: moa).instance
    #expect(instance.rawValue > 1 << 32, "it can be guessed")
    let others: [(ClientUser, Node)] = [
      ("ann", moa), ("root", kea), (ClientUser("root", marks: []), moa), ("ann", kea),
    ]
    for (user, node) in others {
      func code(_ operation: some VProtocol.Operation) -> ReplyCode? {
        asker.code(operation, as: user, from: node)
      }
      let place: Comment = "\(user.name) of \(node.host)"
      #expect(
        code(WriteInstance(instance, position: 0, data: [1])) == .noPermission, place)
      #expect(code(ReadInstance(instance, position: 0, count: 9)) == .noPermission, place)
      #expect(code(QueryInstance(instance)) == .noPermission, place)
      #expect(code(ModifyInstance(instance, Modification())) == .noPermission, place)
      #expect(code(ReleaseInstance(instance)) == .noPermission, place)
      #expect(code(SyncInstance(instance, isDataOnly: false)) == .noPermission, place)
      // Using the name does not help either.
      for mode: OpenMode in [.read, .write, [.read, .write], [.write, .create]] {
        #expect(code(CreateInstance(name("p"), mode: mode)) == .noPermission, place)
      }
      #expect(code(CheckAccess(name("p"), mask: 4)) == .noPermission, place)
      #expect(code(RemoveName(name("p"), isContext: false)) == .notOwner, place)
      var modification = Modification()
      modification.permissions = 0o666
      #expect(code(ModifyObject(name("p"), modification)) == .notOwner, place)
    }
    let written = try asker.done(
      WriteInstance(instance, position: 0, data: [7]), as: "root", from: moa)
    #expect(written.count == 1)
    let block = try asker.done(
      ReadInstance(instance, position: 0, count: 9), as: "root", from: moa)
    #expect(block.data == [7])
  }

  @Test("rights are checked together, and root of another host owns what it makes")
  func together() throws {
    let simulator = Simulator(seed: 42)
    let moa = simulator.start("moa")
    let (kea, asker) = (simulator.start("kea"), Asker(simulator, PipeServer(moa)))
    _ = try asker.done(
      CreateInstance(name("p"), mode: [.write, .create], permissions: 0o644), as: "ann",
      from: moa)
    let wanted: [(OpenMode, ReplyCode)] = [
      ([.read, .nonBlocking], .ok), ([.read, .write], .noPermission),
      ([.read, .write, .truncate], .noPermission), ([.read, .execute], .noPermission),
    ]
    for (mode, code) in wanted {
      #expect(asker.code(CreateInstance(name("p"), mode: mode), as: "eve", from: kea) == code)
    }
    let made = try asker.done(
      CreateInstance(name("q"), mode: [.write, .create], permissions: 0o600), as: "root",
      from: kea)
    #expect(made.descriptor.owner == "root@kea")
    let opening = CreateInstance(name("q"), mode: [.read, .nonBlocking])
    #expect(asker.code(opening, as: "root", from: kea) == .ok)
    #expect(asker.code(opening, as: "root", from: simulator.start("tui")) == .noPermission)
    #expect(asker.code(opening, as: "root", from: moa) == .ok)
    #expect(asker.code(RemoveName(name("q"), isContext: false), as: "root", from: kea) == .ok)
  }

  @Test("the context of a pipe cannot be guessed, and ends with it")
  func contexts() throws {
    let simulator = Simulator(seed: 43)
    let moa = simulator.start("moa")
    let asker = Asker(simulator, PipeServer(moa))
    let made = try asker.done(
      CreateInstance(name("p"), mode: [.write, .create], permissions: 0o600), as: "ann",
      from: moa)
    let context = made.descriptor.context
    #expect(context.rawValue > 1 << 32)
    let query = QueryObject(ContextName(context))
    #expect(try asker.done(query, as: "ann", from: moa).context == context)
    #expect(
      asker.code(CreateInstance(ContextName(context), mode: .read), as: "eve", from: moa)
        == .noPermission)
    #expect(asker.code(RemoveName(name("p"), isContext: false), as: "ann", from: moa) == .ok)
    #expect(asker.code(query, as: "ann", from: moa) == .invalidContext)
    for number: UInt64 in [2, 3, 4] {
      let guess = QueryObject(ContextName(ContextID(rawValue: number)))
      #expect(asker.code(guess, as: "ann", from: moa) == .invalidContext)
    }
    for odd in [".", "..", "a\0b"] {
      let making = CreateInstance(name(odd), mode: [.write, .create], permissions: 0o600)
      #expect(asker.code(making, as: "ann", from: moa) == .badArguments)
    }
  }

  @Test("a user beyond the share of pipes and instances is refused, and no other is")
  func shares() throws {
    let simulator = Simulator(seed: 44)
    let moa = simulator.start("moa")
    let (kea, asker) = (simulator.start("kea"), Asker(simulator, PipeServer(moa)))
    func make(_ text: String, as user: ClientUser, from node: Node) -> ReplyCode? {
      asker.code(
        CreateInstance(name(text), mode: [.write, .create], permissions: 0o666), as: user,
        from: node)
    }
    let share = PipeLimits.pipesMax / 4
    for number in 0..<share { #expect(make("p\(number)", as: "eve", from: kea) == .ok) }
    #expect(make("more", as: "eve", from: kea) == .noServerResources)
    #expect(make("ann", as: "ann", from: kea) == .ok)
    #expect(make("ann", as: "ann", from: moa) == .ok && make("r", as: "root", from: moa) == .ok)
    // Her own instances end; then, with their names, the pipes in her share.
    #expect(asker.code(RemoveName(name("p0"), isContext: false), as: "eve", from: kea) == .ok)
    #expect(make("more", as: "eve", from: kea) == .noServerResources, "it is open still")
    // Openings count in the share as well, and a refusal gives its place back.
    let left = PipeLimits.instancesMax / 4 - share
    for number in 0..<left {
      #expect(make("p1", as: "eve", from: kea) == .ok, "\(number)")
      #expect(make("more", as: "eve", from: kea) == .noServerResources)
    }
    #expect(make("p1", as: "eve", from: kea) == .noServerResources)
    #expect(make("p1", as: "ann", from: kea) == .ok)
    simulator.crash("kea")
    simulator.run(for: .seconds(60)) { asker.server.instanceCount == 2 }
    #expect(asker.server.instanceCount == 2, "those of moa")
  }

  @Test("no name can make a line of its own in the list of instances")
  func forgedLines() throws {
    let simulator = Simulator(seed: 45)
    let moa = simulator.start("moa")
    let asker = Asker(simulator, PipeServer(moa))
    _ = try asker.done(
      CreateInstance(
        name("p\r\n1 2 root moa read pipe\u{9B}2J"), mode: [.write, .create],
        permissions: 0o666), as: "ann", from: moa)
    for user: ClientUser in ["ann", "root"] {
      let lines = try asker.done(ListInstances(from: 0), as: user, from: moa).data
      #expect(lines.count { $0 < 0x20 || $0 == 0x7F } == 1 && lines.last == UInt8(ascii: "\n"))
      // Numbers are told to root only.
      #expect(lines.starts(with: Array("- ".utf8)) == (user.name == "ann"))
    }
  }

  @Test("a listing has each pipe once, whatever is made and removed while it is read")
  func listing() throws {
    let simulator = Simulator(seed: 46)
    let moa = simulator.start("moa")
    let asker = Asker(simulator, PipeServer(moa))
    func change(_ text: String) throws {
      let making = CreateInstance(name(text), mode: [.write, .create], permissions: 0o600)
      let instance = try asker.done(making, as: "ann", from: moa).instance
      _ = try asker.done(ReleaseInstance(instance), as: "ann", from: moa)
    }
    for number in 0..<200 { try change("p\(number)") }
    let opening = CreateInstance(name(""), mode: [.read, .directory])
    let instance = try asker.done(opening, as: "eve", from: moa).instance
    var (names, position): ([String], UInt64) = ([], 0)
    while true {
      let read = ReadInstance(instance, position: position, count: 4096)
      var reader = SegmentReader(try asker.done(read, as: "eve", from: moa).data)
      if reader.remaining == 0 { break }
      while reader.remaining > 0 {
        let record = try Descriptor(parsing: &reader)
        names.append(String(decoding: record.name, as: UTF8.self))
        position = record.nextPosition
      }
      // A listed pipe is removed, and a new one is made.
      _ = try asker.done(
        RemoveName(name(names.last!), isContext: false), as: "ann", from: moa)
      if names.count < 100 { try change("new\(names.count)") }
    }
    #expect(names.filter { $0.hasPrefix("p") } == (0..<200).map { "p\($0)" })
    #expect(names.contains { $0.hasPrefix("new") })
    #expect(
      asker.code(ReadInstance(instance, position: 0, count: 64), as: "eve", from: moa)
        == .badByteCount)
    #expect(
      asker.code(WriteInstance(instance, position: 0, data: [1]), as: "eve", from: moa)
        == .notWriteable)
  }

  @Test("a user beyond the share of waits is refused, until a wait ends")
  func waits() throws {
    let simulator = Simulator(seed: 47)
    let moa = simulator.start("moa")
    let server = PipeServer(moa)
    let asker = Asker(simulator, server)
    let making = CreateInstance(
      name("p"), mode: [.read, .write, .create], permissions: 0o666)
    let hers = try asker.done(making, as: "eve", from: moa).instance
    let his = try asker.done(making, as: "ann", from: moa).instance
    let clients = ClientPool(moa)
    let codes = Shared<[ReplyCode]>([])
    func read(_ instance: InstanceID, as user: ClientUser) {
      let read = ReadInstance(instance, position: 0, count: 9)
      clients.send(read, as: user, to: server.server) { answer in
        codes.value.append(answer.refusal ?? .ok)
      }
    }
    let share = PipeLimits.waitsMax / 4
    for _ in 0..<(share + 3) { read(hers, as: "eve") }
    simulator.run(for: .seconds(1))
    #expect(codes.value == [.noServerResources, .noServerResources, .noServerResources])
    #expect(server.waitCount == share)
    read(his, as: "ann")
    simulator.run(for: .seconds(1))
    #expect(codes.value.count == 3 && server.waitCount == share + 1)
    // Her instance ends her waits, and no others.
    #expect(asker.code(ReleaseInstance(hers), as: "eve", from: moa) == .ok)
    simulator.run(for: .seconds(1)) { codes.value.count == share + 3 }
    #expect(codes.value.count { $0 == .invalidFileID } == share && server.waitCount == 1)
    let write = WriteInstance(his, position: 0, data: [1])
    #expect(asker.code(write, as: "ann", from: moa) == .ok)
    simulator.run(for: .seconds(1)) { server.waitCount == 0 }
    #expect(codes.value.last == .ok && server.waitCount == 0)
  }
}
