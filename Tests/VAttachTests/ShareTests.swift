import Foundation
import Synchronization
import Testing
import VAttach
import VNode
import VProtocol
import VRuntime

@Suite(
  "Shares of the node's socket", .timeLimit(.minutes(1)),
  .enabled(if: geteuid() == 0, "needs root, who is not counted, and two users, who are"))
struct ShareTests {
  let cluster = Cluster.shared
  private let nobody: UInt32 = 65_534
  private let unnamed: UInt32 = 54_321
  private let alsoUnnamed: UInt32 = 54_322

  private func limits(_ change: (inout AttachLimits) -> Void) -> AttachLimits {
    var limits = AttachLimits()
    change(&limits)
    return limits
  }

  @Test("a user has a quarter of all connections, all users without a name one, and root comes in")
  func connections() throws {
    let door = try Door(cluster.kea, limits { ($0.processes, $0.unnamed) = (16, 16) })
    var attached: [RawProcess] = []
    func attach(_ uid: UInt32) -> Bool {
      guard let process = try? RawProcess(door.path, as: uid) else { return false }
      attached.append(process)
      return true
    }
    #expect((0..<8).count { _ in attach(nobody) } == 4)
    #expect((0..<8).count { _ in attach(unnamed) } == 4)
    #expect(!attach(alsoUnnamed))
    #expect((0..<20).count { _ in attach(0) } == 8)
    #expect(door.server.endings["tooManyProcesses"] == 4 + 4 + 1 + 12)
    // Free places can be used again.
    attached = []
    #expect(eventually { door.server.processCount == 0 })
    #expect(attach(nobody) && attach(alsoUnnamed) && attach(0))
  }

  @Test("a process that reads costs the node one descriptor")
  func descriptors() throws {
    func openDescriptors() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    }
    let door = try Door(cluster.kea)
    let before = try openDescriptors()
    let processes = try (0..<200).map { _ in try RawProcess(door.path) }
    // Both ends are in this process, and so are some of other tests.
    #expect(try openDescriptors() - before < 500)
    withExtendedLifetime(processes) {}
  }

  @Test("the entities and servers of a user are bounded, in each process and in all of them")
  func entities() throws {
    let limits = limits {
      $0.entitiesOfUser = 20
      ($0.serversOfProcess, $0.serversOfUser) = (6, 10)
    }
    let door = try Door(cluster.kea, limits)
    let (one, two) = (try RawProcess(door.path, as: nobody), try RawProcess(door.path, as: nobody))
    let (other, root) = (try RawProcess(door.path, as: unnamed), try RawProcess(door.path))
    defer { for process in [one, two, other, root] { process.end() } }
    func made(_ process: RawProcess, _ frame: AttachFrame, _ count: Int) -> Int {
      (0..<count).count { _ in process.make(frame) != nil }
    }
    let server = AttachFrame.makeServer(token: 1, knowsPrincipals: false)
    let client = AttachFrame.makeClient(token: 1, "nobody")
    #expect(made(one, server, 20) == 6)
    #expect(made(two, server, 20) == 4)
    #expect(made(one, client, 20) == 10)
    #expect(made(two, client, 20) == 0)
    #expect(made(other, server, 20) == 6)
    #expect(made(root, server, 100) == 100)
    // They come back with their process, and one by one.
    one.end()
    #expect(eventually { door.server.processCount == 3 })
    let entity = try #require(two.make(client))
    #expect(made(two, client, 20) == 15)
    two.send(.retire(entity))
    #expect(made(two, client, 20) == 1)
  }

  @Test("the numbers that a user takes at once are bounded, also over several connections")
  func numbers() throws {
    let door = try Door(
      cluster.kea, limits { ($0.numbersAtOnce, $0.numbersPerSecond) = (50, 1) })
    func made(as uid: UInt32, _ count: Int) throws -> Int {
      let process = try RawProcess(door.path, as: uid)
      return (0..<count).count { _ in
        guard let entity = process.make(.makeServer(token: 1, knowsPrincipals: false)) else {
          return false
        }
        process.send(.retire(entity))
        return true
      }
    }
    #expect(try made(as: nobody, 30) == 30)
    // There is one more for each second that this takes.
    #expect(try made(as: nobody, 200) < 100)
    #expect(try made(as: unnamed, 50) == 50)
    #expect(try made(as: 0, 200) == 200)
  }

  @Test(
    "unanswered requests to a user's servers are bounded; only that user's get BUSY")
  func requests() throws {
    let door = try Door(cluster.kea, limits { $0.requestsOfUser = 10 })
    let root = try door.attach()
    defer { root.close() }
    let processes = try [nobody, nobody, unnamed].map { try RawProcess(door.path, as: $0) }
    defer { for process in processes { process.end() } }
    let servers = try processes.map {
      try #require($0.make(.makeServer(token: 1, knowsPrincipals: false)))
    }
    let codes = Collected<(Int, ReplyCode)>()
    func ask(_ index: Int) {
      root.send(
        Message(MessageControlBlock(code: 1)), from: root.makeClient(user: "root"),
        to: servers[index], options: SendOptions()
      ) { codes.append((index, $0.code)) }
    }
    for _ in 0..<8 { ask(0) }
    for _ in 0..<8 { ask(1) }
    for _ in 0..<8 { ask(2) }
    #expect(
      root.sendText("x", from: root.makeClient(user: "root"), to: root.makeEcho()).code == .ok)
    #expect(codes.values.map(\.0) == [Int](repeating: 1, count: 6))
    #expect(codes.values.allSatisfy { $0.1 == .busy })
    // An answer makes room for the next one, and so does a server that is retired.
    guard case .invoke(let request)? = processes[0].receive() else { return }
    processes[0].send(.reply(Message(reply: .ok), to: AttachFrame.RequestName(request)))
    #expect(eventually { codes.values.count == 7 && codes.values[6].1 == .ok })
    processes[0].send(.retire(servers[0]))
    #expect(eventually { codes.values.count { $0.1 == .outcomeUnknown } == 7 }, "\(codes.values)")
    for _ in 0..<9 { ask(1) }
    #expect(
      root.sendText("x", from: root.makeClient(user: "root"), to: root.makeEcho()).code == .ok)
    #expect(codes.values.count { $0.1 == .busy } == 7)
  }

  @Test("one user has at most a quarter of a server's requests, read and unread")
  func clientsOfServer() throws {
    let door = try Door(
      cluster.kea, limits { ($0.requestsOfProcess, $0.requestOctets) = (40, 160 << 10) })
    let server = try RawProcess(door.path)
    let entity = try #require(server.make(.makeServer(token: 1, knowsPrincipals: true)))
    let codes = Collected<(String, ReplyCode)>()
    let root = try door.attach()
    defer { root.close() }
    func ask(_ user: String, octets: Int, _ count: Int) {
      let segment = [UInt8](repeating: 1, count: octets)
      for _ in 0..<count {
        root.send(
          Message(MessageControlBlock(code: 1), segment: segment),
          from: root.makeClient(user: user), to: entity, options: SendOptions()
        ) { codes.append((user, $0.code)) }
      }
      let client = root.makeClient(user: "root")
      #expect(root.sendText("x", from: client, to: root.makeEcho()).code == .ok)
    }
    ask("ann", octets: 0, 30)
    ask("bob", octets: 0, 10)
    #expect(codes.values.map(\.0) == [String](repeating: "ann", count: 20))
    #expect(codes.values.allSatisfy { $0.1 == .busy })
    for _ in 0..<20 {
      guard case .invoke(let request)? = server.receive() else { break }
      server.send(.reply(Message(reply: .ok), to: AttachFrame.RequestName(request)))
    }
    #expect(eventually { codes.values.count { $0.1 == .ok } == 20 })
  }

  @Test("unread frames of a user are bounded over all its processes, and end with them")
  func octets() throws {
    let max = 4 << 20
    let door = try Door(cluster.kea, limits { $0.octetsOfUser = max })
    let root = try door.attach()
    defer { root.close() }
    let body = [UInt8](repeating: 7, count: 16_384)
    let big = root.makeServer(knowsPrincipals: false) { [unowned root] request in
      root.reply(Message(MessageControlBlock(), segment: body), to: request)
    }
    let lazy = try (0..<6).map { _ in try RawProcess(door.path, as: nobody) }
    for process in lazy {
      let clients = (0..<400).compactMap { process.make(.makeClient(token: $0, "nobody")) }
      for client in clients {
        process.send(.send(Message(reply: .ok), client: client, server: big, SendOptions()))
      }
    }
    #expect(eventually { door.server.endings["notReading", default: 0] >= 1 })
    #expect(door.server.unreadOctets <= max)
    // Another user is served as before.
    let victim = try RawProcess(door.path, as: unnamed)
    let client = try #require(victim.make(.makeClient(token: 1, "#54321")))
    victim.send(.send(Message(reply: .ok), client: client, server: big, SendOptions()))
    guard case .complete(_, let response)? = victim.receive() else {
      Issue.record("no answer")
      return
    }
    #expect(response.message.segment == body)
    for process in lazy { process.end() }
    #expect(eventually { door.server.processCount == 2 && door.server.unreadOctets == 0 })
  }

  @Test("memory of many unread frames is returned to the machine, other memory is not")
  func memory() throws {
    let trimmed = Collected<Bool>()
    let door = try Door(cluster.kea, trimMemory: { trimmed.append(true) })
    let root = try door.attach()
    defer { root.close() }
    let big = root.makeServer(knowsPrincipals: false) { [unowned root] request in
      let body = [UInt8](repeating: 7, count: 16_384)
      root.reply(Message(MessageControlBlock(), segment: body), to: request)
    }
    func leave(after count: UInt32) throws {
      let process = try RawProcess(door.path)
      let clients = (0..<count).compactMap { process.make(.makeClient(token: $0, "nobody")) }
      for client in clients {
        process.send(.send(Message(reply: .ok), client: client, server: big, SendOptions()))
      }
      // Frames that are not in the socket are kept here.
      if count > 100 { #expect(eventually { door.server.unreadOctets > 4 << 20 }) }
      process.end()
    }
    for _ in 0..<20 { try leave(after: 5) }
    #expect(eventually { door.server.processCount == 1 })
    for _ in 0..<2 { try leave(after: 1000) }
    // Both come soon after each other, and none of the others was large enough.
    #expect(eventually { trimmed.values.count >= 1 })
    #expect(trimmed.values.count <= 2)
  }

  @Test("while a table of users gives no answer, its users wait and act as nobody else")
  func slowTable() throws {
    let table = SilentUsers()
    let door = try Door(cluster.kea, users: table)
    let path = door.path
    let waiting = Collected<RawProcess?>()
    Thread.detachNewThread { waiting.append(try? RawProcess(path, as: 1)) }
    #expect(eventually { table.questions == 1 })
    // Other users are admitted meanwhile.
    let root = try RawProcess(path)
    #expect(waiting.values.isEmpty && door.server.processCount == 2)
    table.tell("ann")
    #expect(eventually { waiting.values.count == 1 })
    let process = try #require(waiting.values[0])
    #expect(process.make(.makeClient(token: 1, "ann")) != nil)
    #expect(process.make(.makeClient(token: 1, "daemon")) == nil)
    // If the table does not answer in time, nobody is admitted.
    table.tell(nil)
    let late = Collected<Bool>()
    Thread.detachNewThread { late.append((try? RawProcess(path, as: 1)) == nil) }
    #expect(eventually { table.questions == 2 })
    table.tell(nil)
    #expect(eventually { late.values == [true] })
    #expect(door.server.endings["unknownUser"] == 1)
    root.end()
  }

  @Test("with more processes of a user, fewer frames of each are read in a turn")
  func turns() {
    let account = AttachAccount(AttachLimits(), isOwner: false)
    #expect(account.framesOfTurn == 256)
    for _ in 0..<4 { account.beginReading() }
    #expect(account.framesOfTurn == 64)
    for _ in 0..<1000 { account.beginReading() }
    #expect(account.framesOfTurn == 1)
    for _ in 0..<1004 { account.endReading() }
    #expect(account.framesOfTurn == 256)
  }

  @Test("a user joins groups that are unrestricted, without a name and not the system's")
  func groups() throws {
    let door = try Door(cluster.kea, limits { $0.membershipsOfUser = 20 })
    let process = try RawProcess(door.path, as: nobody)
    let servers = try (0..<2).map { _ in
      try #require(process.make(.makeServer(token: 1, knowsPrincipals: false)))
    }
    func join(_ server: EntityID, _ group: EntityID) -> ReplyCode? {
      process.send(.join(token: 2, server: server, group: group))
      switch process.receive() {
      case .made: return .ok
      case .refused(_, let code): return code
      default: return nil
      }
    }
    func free(_ number: UInt32) -> EntityID {
      EntityID(group: number, low: 7, isUnrestricted: true)
    }
    let refused: [EntityID] = [
      EntityID(groupNamed: "secret"), EntityID(groupNamed: "jobs"), .nodeGroup, .timeGroup,
      .processGroup, .groupManagerGroup, .nameHandlingGroup, .managerGroup,
      EntityID(group: 0x7001, low: 0xE000_0100, isUnrestricted: true),
      EntityID(group: 5, low: 7, isUnrestricted: false),
    ]
    for group in refused { #expect(join(servers[0], group) == .noPermission, "\(group)") }
    for number: UInt32 in 1...16 { #expect(join(servers[0], free(number)) == .ok) }
    #expect(join(servers[0], free(17)) == .noServerResources)
    #expect(join(servers[0], free(1)) == .ok)
    for number: UInt32 in 1...4 { #expect(join(servers[1], free(number)) == .ok) }
    #expect(join(servers[1], free(5)) == .noServerResources)
    // They are shown in the list.
    #expect(cluster.kea.entities(servers[1]).first?.groups == (1...4).map { free($0) })
    process.send(.retire(servers[0]))
    #expect(join(servers[1], free(5)) == .ok)
    // The node's owner may join the others as well.
    let root = try door.attach()
    defer { root.close() }
    #expect(root.tryJoin(root.makeEcho(), group: EntityID(groupNamed: "jobs")) == .ok)
  }

  @Test("the owner in a request is a process's own entity, also for root")
  func owners() throws {
    let door = try Door(cluster.kea)
    let root = try door.attach()
    defer { root.close() }
    let other = root.makeClient(user: "root")
    let echo = root.makeEcho()
    for uid in [nobody, 0] {
      let process = try RawProcess(door.path, as: uid)
      let client = try #require(process.make(.makeClient(token: 1, "nobody")))
      let server = try #require(process.make(.makeServer(token: 2, knowsPrincipals: false)))
      func ask(_ message: Message) -> ReplyCode? {
        process.send(.send(message, client: client, server: echo, SendOptions()))
        guard case .complete(_, let response)? = process.receive() else { return nil }
        return response.message.reply
      }
      let name = ContextName(ContextID(rawValue: 1), [120])
      func create(_ owner: EntityID) -> Message {
        CreateInstance(name, mode: .read, owner: owner).message
      }
      func change(_ owner: EntityID) -> Message {
        ChangeOwner(InstanceID(rawValue: 1), to: owner).message
      }
      for owner in [EntityID.none, client, server] {
        #expect(ask(create(owner)) == .ok)
        #expect(ask(change(owner)) == .ok)
      }
      let invented = EntityID(kernel: KernelID(99), discriminator: 99)
      for owner in [other, echo, invented] {
        #expect(ask(create(owner)) == .noPermission)
        #expect(ask(change(owner)) == .noPermission)
      }
      // A datagram with such an owner is dropped; the next message shows that it has been read.
      process.send(.datagram(create(invented), client: client, server: server))
      process.send(.datagram(create(client), client: client, server: server))
      guard case .invoke(let request)? = process.receive() else {
        Issue.record("no datagram")
        continue
      }
      #expect(try CreateInstance(parsing: request.message).owner == client)
    }
  }
}

/// A table of users that answers for user 1 as the test says, once it is opened.
private final class SilentUsers: UserNames {
  private struct State {
    var name: String?
    var questions = 0
    var waiting: [@Sendable () -> Void] = []
  }
  private let state = Mutex(State())

  var questions: Int { state.withLock { $0.questions } }

  /// Ends the waits; with nil the table still gives no answer.
  func tell(_ name: String?) {
    let waiting = state.withLock { state in
      state.name = name
      defer { state.waiting = [] }
      return state.waiting
    }
    for done in waiting { done() }
  }

  func userName(_ id: UInt32) -> NameAnswer<String> {
    state.withLock { $0.name }.map { .known($0) } ?? .unknown
  }
  func groupName(_ id: UInt32) -> NameAnswer<String> { .absent }
  func userID(_ name: String) -> NameAnswer<UInt32> { .absent }
  func groupID(_ name: String) -> NameAnswer<UInt32> { .absent }
  func find(_ questions: [NameQuestion], _ done: @escaping @Sendable () -> Void) {
    state.withLock {
      $0.questions += 1
      $0.waiting.append(done)
    }
  }
}
