import VDirectory
import VNode
import VProtocol
import VRuntime
import VTeamServer

/// A host with a directory and a team server.
final class TeamHost {
  let simulator: Simulator
  let node: Node
  let directory: Directory
  let machine: FakeMachine
  let team: TeamServer
  let clients: ClientPool
  /// Whether root has all rights over its host, and is not in a container.
  var isRootFull = true

  init(
    _ host: String, in simulator: Simulator, run: [String] = ["*@*"], guest: String? = nil,
    on machine: FakeMachine = FakeMachine()
  ) {
    self.simulator = simulator
    self.machine = machine
    node = simulator.start(host)
    node.announce()
    directory = Directory(node)
    team = TeamServer(node, machine, rules: RunRules(run, host: host, guest: guest)!)
    team.claim(in: directory.server) { _ in }
    clients = ClientPool(node)
  }

  /// Sends an operation and waits for the outcome.
  func ask<Op: VProtocol.Operation>(
    _ operation: Op, of manager: EntityID, as user: String = "ann"
  ) -> Answer<Op.Answer>? {
    let user = ClientUser(user, marks: user == "root" && isRootFull ? .fullRoot : [])
    return outcome(simulator) {
      clients.send(operation, as: user, to: manager, completion: $0)
    }
  }

  func open(
    _ path: String, _ mode: OpenMode, as user: String = "ann", owner: EntityID = .none
  ) -> TeamOpen? {
    let name = ContextName(directory.nameSpace.root, Array(path.utf8))
    let answer = ask(
      CreateInstance(name, mode: mode, owner: owner), of: directory.server, as: user)
    lastCode = answer?.refusal
    guard case .done(let opened, let manager) = answer else { return nil }
    return TeamOpen(host: self, instance: opened.instance, manager: manager, user: user)
  }

  /// The refusal of the last opening.
  var lastCode: ReplyCode?

  func text(_ path: String, as user: String = "ann") -> String? {
    guard let file = open(path, .read, as: user) else { return nil }
    defer { file.release() }
    return file.read()
  }

  func write(_ path: String, _ text: String, as user: String = "ann") -> ReplyCode? {
    guard let file = open(path, .write, as: user) else { return lastCode }
    defer { file.release() }
    return file.write(text)
  }

  func list(_ path: String) -> [String]? {
    guard let file = open(path, [.read, .directory]) else { return nil }
    var names: [String] = []
    var position: UInt64 = 0
    while case .done(let block, _) = ask(
      ReadInstance(file.instance, position: position, count: 16_384), of: file.manager),
      !block.data.isEmpty
    {
      var reader = SegmentReader(block.data)
      while reader.remaining > 0, let record = try? Descriptor(parsing: &reader) {
        names.append(String(decoding: record.name, as: UTF8.self))
        position = record.nextPosition
      }
    }
    file.release()
    return names
  }

  /// Starts a program and reads back its name.
  func start(_ host: String, _ request: String, as user: String = "ann") -> (TeamOpen, String)? {
    guard let new = open("team/\(host)/new", [.read, .write], as: user),
      new.write(request) == .ok, let name = new.read()
    else { return nil }
    return (new, String(name.dropLast()))
  }
}

extension TeamHost {
  /// The entity of a program, as its `status` tells.
  func entity(of program: String) -> EntityID? {
    let lines = text("team/\(program)/status")?.split(separator: "\n") ?? []
    return lines.first { $0.hasPrefix("entity ") }
      .flatMap { EntityID($0.dropFirst("entity ".count)) }
  }
}

/// An instance that a host has open.
struct TeamOpen {
  var host: TeamHost
  var instance: InstanceID
  var manager: EntityID
  var user: String

  func read() -> String? {
    guard
      case .done(let block, _) = host.ask(
        ReadInstance(instance, position: 0, count: 16_384), of: manager, as: user)
    else { return nil }
    return String(decoding: block.data, as: UTF8.self)
  }

  /// Begins a read; the result comes later.
  func readLater() -> Shared<String?> {
    let text = Shared<String?>(nil)
    host.clients.send(
      ReadInstance(instance, position: 0, count: 16_384), as: ClientUser(own: user), to: manager
    ) { answer in
      switch answer {
      case .done(let block, _): text.value = String(decoding: block.data, as: UTF8.self)
      case .refused(let refusal): text.value = "\(refusal.code)"
      }
    }
    return text
  }

  func write(_ text: String) -> ReplyCode { write(Array(text.utf8)) }

  func write(_ data: [UInt8]) -> ReplyCode {
    code(WriteInstance(instance, position: 0, data: data))
  }

  func release() { _ = code(ReleaseInstance(instance)) }

  func code(_ operation: some VProtocol.Operation) -> ReplyCode {
    host.ask(operation, of: manager, as: user)?.refusal ?? .ok
  }

  /// The same instance, for a client that has learned its number.
  func stolen(by user: String, on host: TeamHost) -> TeamOpen {
    TeamOpen(host: host, instance: instance, manager: manager, user: user)
  }
}
