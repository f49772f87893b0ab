import Testing
import VDirectory
import VFileServer
import VGroupServer
import VKernelServers
import VNode
import VObjects
import VPipeServer
import VProtocol
import VRAMServer
import VRuntime
import VStore
import VTeamServer

/// A host with all servers, a second host for attackers, and the private objects of ann on the
/// first.
final class AttackedHost {
  let simulator: Simulator
  let kea: Node
  let moa: Node
  let directory: Directory
  let machine = FakeMachine()
  /// Servers live as long as they are referenced.
  private var servers: [any Sendable] = []
  private var clients: [Who: EntityID] = [:]
  /// The answers that the pipe server got to its claim.
  let claims = Box<[ReplyCode]>([])
  /// The name of ann's program.
  private(set) var program = ""
  /// Both ends of ann's pipe `ends`, which she keeps.
  private(set) var ends: (instance: InstanceID, manager: EntityID)?

  init(seed: UInt64 = 1) throws {
    let simulator = Simulator(seed: seed)
    self.simulator = simulator
    let kea = simulator.start("kea")
    let moa = simulator.start("moa")
    self.kea = kea
    self.moa = moa
    kea.announce()
    moa.announce()
    directory = Directory(kea)
    machine.users = ["root", "ann", "bob", "nobody"]
    machine.others = [HostProcess(pid: 7, command: Array("init".utf8))]
    try plug(in: directory.server)
    simulator.run(for: .seconds(2))
    for who in Who.allCases { clients[who] = node(of: who).makeClient(who.user) }
    try furnish()
  }

  private func plug(in directory: EntityID) throws {
    let files = try FileServer(
      kea, store: MemoryStore(), users: FixedUsers(ids: ["root": 0, "ann": 1, "bob": 2]),
      exports: [Export(prefix: Array("storage/kea".utf8), path: "/srv")])
    files.claim(in: directory) { #expect($1 == .ok) }
    let pipes = PipeServer(kea)
    pipes.claim(in: directory) { [claims] in claims.value.append($0) }
    let groups = GroupServer(kea)
    groups.claim(in: directory) { #expect($0 == .ok) }
    let team = TeamServer(kea, machine, rules: RunRules(["*@*"], host: "kea")!)
    team.claim(in: directory) { #expect($0 == .ok) }
    let ram = RAMFileServer(kea, prefix: "ram/kea")
    ram.manager.claim(in: directory) { #expect($0 == .ok) }
    let time = TimeServer(kea)
    let node = NodeServer(
      kea, kernel: kea.id, addresses: ["10.77.0.1:61044"],
      register: { [kea] in
        kea.makeServer(
          discriminator: EntityID.nodeServerDiscriminator, knowsPrincipals: false, $0)
      },
      snapshot: {
        NodeSnapshot(isSealing: false, counters: [], rejected: [], attached: nil, peers: [])
      })
    let tree = HostTree(
      kea, node,
      ProcessServer(kea, states: { [kea] in kea.entities($0) }, clients: { [kea] in kea.clients }),
      HostTree.Sources(
        machine: { [] }, managers: { [names = self.directory] in names.managers },
        trace: { "" }, keepTrace: { _ in }))
    tree.manager.claim(in: directory) { #expect($0 == .ok) }
    servers = [files, pipes, groups, team, ram, time, node, tree]
  }

  /// The objects of ann: private directories, a program, a group.
  private func furnish() throws {
    for tree in ["storage", "ram"] {
      try done(AddName(name("\(tree)/kea/own"), kind: .context, permissions: 0o700))
    }
    try done(AddName(name("group/own"), kind: .context, permissions: 0o700))
    try done(AddName(name("group/own/members/ann"), kind: .file, permissions: 0o600))
    let new = try open("team/kea/new", [.read, .write])
    try done(
      WriteInstance(new.instance, position: 0, data: Array("sleep 9".utf8)), at: new.manager)
    let answer = send(ReadInstance(new.instance, position: 0, count: 99).message, new.manager)
    program = String(decoding: answer.message.segment.dropLast(), as: UTF8.self)
    #expect(program.hasSuffix("sleep"))
    ends = try open("pipe/kea/ends", [.read, .write, .create])
  }

  /// The machine's data of ann's program.
  var running: FakeProgram { machine.programs.values.min { $0.pid < $1.pid }! }

  // MARK: asking

  /// A name from the root of the name space.
  func name(_ path: String) -> ContextName {
    ContextName(directory.nameSpace.root, Array(path.utf8))
  }

  func node(of who: Who) -> Node { who.host == "kea" ? kea : moa }

  /// The answer to a message, or `userTimeout` if it waits.
  func send(_ message: Message, _ manager: EntityID, as who: Who = .owner) -> Response {
    let node = node(of: who)
    // A wait occupies its client for good, so each has a client of its own.
    let client = node.makeClient(who.user)
    defer { node.retire(client) }
    let got = Box<Response?>(nil)
    node.send(
      message, from: client, to: manager, options: SendOptions(timeLimit: .milliseconds(900))
    ) { got.value = $0 }
    simulator.run(for: .seconds(5)) { got.value != nil }
    guard let response = got.value else {
      return Response(server: .none, message: Message(reply: .retransmissionTimeout))
    }
    return response
  }

  /// Does an operation as the owner, which must succeed.
  func done(_ operation: some VProtocol.Operation, at manager: EntityID? = nil) throws {
    let code = send(operation.message, manager ?? directory.server).code
    try #require(code == .ok, "\(type(of: operation)): \(code)")
  }

  func open(
    _ path: String, _ mode: OpenMode, permissions: UInt32 = 0o600, as who: Who = .owner
  ) throws -> (instance: InstanceID, manager: EntityID) {
    let operation = CreateInstance(
      name(path), mode: mode, permissions: permissions,
      // The process that opens ends with its transaction here; the instance stays open.
      owner: clients[who] ?? .none)
    let response = send(operation.message, directory.server, as: who)
    try #require(response.code == .ok, "\(path): \(response.code)")
    let answer = try CreateInstance.Answer(parsing: response.message)
    return (answer.instance, response.server)
  }

  /// A process of `who` that is alive.
  func process(of who: Who) -> EntityID { clients[who]! }

  /// The list of a manager's open instances as root of the host sees it, with numbers and owners.
  func open(at manager: EntityID) -> String {
    let lines = send(ListInstances(from: 0).message, manager, as: .root)
    return String(decoding: lines.message.segment, as: UTF8.self)
  }

  /// The time server of kea.
  var timeServer: EntityID? {
    kea.entities().first { $0.groups.contains(.timeGroup) }?.entity
  }
}

// MARK: - what is open

extension AttackedHost {
  /// The path of a kind on this host.
  func path(_ path: String) -> String {
    path.replacing("PROGRAM", with: program).replacing("PROCESS", with: "\(process(of: .owner))")
  }

  /// Puts a text into a stream; returns what is read of it later, or nil if the kind is no stream.
  @discardableResult
  func put(_ text: String, in kind: OpenKind) throws -> String? {
    switch kind.source {
    case .kept, .changing, .none, .later: return nil
    case .pipe:
      let isOwn = kind.mode.contains(.write)
      let ends = try isOwn ? open(kind.path, .write) : #require(ends)
      try done(
        WriteInstance(ends.instance, position: 0, data: Array(text.utf8)), at: ends.manager)
      if isOwn { try done(ReleaseInstance(ends.instance), at: ends.manager) }
      return text
    case .mailbox:
      let message = GroupMessage(sender: "", text: text)
      try done(message, at: EntityID(groupNamed: "own"))
      return "ann@kea: \(text)\n"
    case .output(let stream):
      running.say(text, stream == .out ? .out : .err)
      return text
    }
  }

  /// The state of instances that an attack could change.
  struct InstanceState: Equatable {
    var descriptor: Message
    /// All open instances of the manager, with their principals and owners.
    var open: String
    var content: [UInt8]?
    var input: [UInt8]
    var isInputEnded: Bool
    var commands: [ProgramCommand]
    var programs: Int
  }

  func state(of instance: InstanceID, _ manager: EntityID, _ kind: OpenKind) -> InstanceState {
    var content: [UInt8]?
    if case .kept = kind.source, kind.can.contains(.read) {
      content =
        send(ReadInstance(instance, position: 0, count: 1024).message, manager).message.segment
    }
    return InstanceState(
      descriptor: send(QueryInstance(instance).message, manager).message,
      open: open(at: manager), content: content, input: running.input,
      isInputEnded: running.isInputEnded, commands: running.commands,
      programs: machine.programs.count)
  }
}

/// A place for one value.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class Box<Value>: @unchecked Sendable {
  var value: Value
  init(_ value: Value) { self.value = value }
}
