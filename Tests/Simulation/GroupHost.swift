import NetworkFaults
import Testing
import VDirectory
import VGroupServer
import VNode
import VObjects
import VProtocol
import VRuntime

/// A host with a directory and a group server, and its users' operations in `group/`.
final class GroupHost {
  let simulator: Simulator
  let node: Node
  let directory: Directory
  let groups: GroupServer
  let clients: ClientPool
  /// The store that its directory keeps from one boot to the next.
  let claims: Shared<[UInt8]>

  init(
    _ host: String, in simulator: Simulator, claims: Shared<[UInt8]> = Shared<[UInt8]>([]),
    peers: [Locator] = []
  ) {
    self.simulator = simulator
    self.claims = claims
    node = simulator.start(host)
    node.setPeers(peers)
    node.announce()
    directory = Directory(
      node, store: ClaimStore(load: { claims.value }, save: { claims.value = $0 }))
    groups = GroupServer(node)
    clients = ClientPool(node)
    groups.claim(in: directory.server) { #expect($0 == .ok) }
  }

  func ask<Op: VProtocol.Operation>(
    _ operation: Op, of manager: EntityID? = nil, as user: ClientUser
  ) -> Answer<Op.Answer>? {
    outcome(simulator) {
      clients.send(operation, as: user, to: manager ?? directory.server, completion: $0)
    }
  }

  private func name(_ path: Name) -> ContextName {
    ContextName(directory.nameSpace.root, Array("group/".utf8) + path.octets)
  }

  func make(
    _ path: Name, _ kind: ObjectKind, permissions: UInt32 = 0o755, as user: ClientUser = "ann"
  ) -> ReplyCode? {
    ask(AddName(name(path), kind: kind, permissions: permissions), as: user).map(code)
  }

  func remove(
    _ path: Name, isContext: Bool = false, as user: ClientUser = "ann"
  ) -> ReplyCode? {
    ask(RemoveName(name(path), isContext: isContext), as: user).map(code)
  }

  func query(_ path: Name, as user: ClientUser = "ann") -> ReplyCode? {
    ask(QueryObject(name(path)), as: user).map(code)
  }

  func open(_ path: Name, _ mode: OpenMode, as user: ClientUser = "ann") -> InstanceID? {
    guard case .done(let opened, _) = ask(CreateInstance(name(path), mode: mode), as: user)
    else { return nil }
    return opened.instance
  }

  func write(_ text: String, to path: Name, as user: ClientUser = "ann") -> ReplyCode? {
    guard let instance = open(path, .write, as: user) else { return nil }
    defer { release(instance, as: user) }
    return ask(
      WriteInstance(instance, position: 0, data: Array(text.utf8)), of: groups.manager.server,
      as: user
    ).map(code)
  }

  func read(_ path: Name, as user: ClientUser = "ann") -> String? {
    guard let instance = open(path, .read, as: user) else { return nil }
    defer { release(instance, as: user) }
    guard
      case .done(let block, _) = ask(
        ReadInstance(instance, position: 0, count: 16_384), of: groups.manager.server, as: user)
    else { return nil }
    return String(decoding: block.data, as: UTF8.self)
  }

  func list(_ path: Name, as user: ClientUser = "ann") -> [Name]? {
    guard let instance = open(path, [.read, .directory], as: user) else { return nil }
    defer { release(instance, as: user) }
    guard
      case .done(let block, _) = ask(
        ReadInstance(instance, position: 0, count: 16_384), of: groups.manager.server, as: user)
    else { return nil }
    var names: [Name] = []
    var reader = SegmentReader(block.data)
    while reader.remaining > 0, let record = try? Descriptor(parsing: &reader) {
      names.append(Name(record.name))
    }
    return names
  }

  func release(_ instance: InstanceID, as user: ClientUser = "ann") {
    _ = ask(ReleaseInstance(instance), of: groups.manager.server, as: user)
  }

  /// The answers of all receivers of a message or a question.
  func collect(
    _ message: Message, to group: EntityID, as user: ClientUser
  ) -> [Response] {
    let responses = Shared<[Response]>([])
    let isOver = Shared(false)
    let client = node.makeClient(user)
    node.send(
      message, from: client, to: group,
      options: SendOptions(timeLimit: .milliseconds(500), collectsResponses: true)
    ) { response in
      if response.server == .none { isOver.value = true } else { responses.value.append(response) }
    }
    simulator.run(for: .seconds(2)) { isOver.value }
    node.retire(client)
    return responses.value
  }

  private func code(_ answer: Answer<some Sendable>) -> ReplyCode { answer.refusal ?? .ok }
}

extension ClientUser {
  /// Root of a container.
  static let containerRoot = ClientUser("root", marks: [])
}
