import VNode
import VProtocol
import VRuntime

/// The requests of one user of one host to a manager.
struct TreeAsker {
  let simulator: Simulator
  let clients: ClientPool
  let manager: EntityID
  var user = "ann"

  init(_ node: Node, of manager: EntityID, _ simulator: Simulator, as user: String = "ann") {
    self.simulator = simulator
    self.manager = manager
    self.user = user
    clients = ClientPool(node)
  }

  func ask<Op: Operation>(_ operation: Op) -> Answer<Op.Answer>? {
    outcome(simulator) {
      clients.send(operation, as: ClientUser(own: user), to: manager, completion: $0)
    }
  }
  func code(_ operation: some Operation) -> ReplyCode? { ask(operation).map { $0.refusal ?? .ok } }
  func name(_ path: String) -> ContextName { ContextName(.none, Array(path.utf8)) }

  func open(_ path: String, _ mode: OpenMode, permissions: UInt32 = 0o644) -> InstanceID? {
    let operation = CreateInstance(name(path), mode: mode, permissions: permissions)
    guard case .done(let opened, _) = ask(operation) else { return nil }
    return opened.instance
  }
  func read(_ instance: InstanceID, at position: UInt64 = 0) -> [UInt8]? {
    guard case .done(let block, _) = ask(ReadInstance(instance, position: position, count: 16_384))
    else { return nil }
    return block.data
  }
  func text(_ path: String) -> String? {
    guard let instance = open(path, .read) else { return nil }
    defer { _ = code(ReleaseInstance(instance)) }
    return read(instance).map { String(decoding: $0, as: UTF8.self) }
  }
  func write(_ text: String, to path: String, _ mode: OpenMode = [.write]) -> ReplyCode? {
    guard let instance = open(path, mode) else { return nil }
    defer { _ = code(ReleaseInstance(instance)) }
    return code(WriteInstance(instance, position: 0, data: Array(text.utf8)))
  }
  func names(_ path: String) -> [String]? {
    guard let instance = open(path, [.read, .directory]), let octets = read(instance) else {
      return nil
    }
    var reader = SegmentReader(octets)
    var names: [String] = []
    while reader.remaining > 0, let record = try? Descriptor(parsing: &reader) {
      names.append(String(decoding: record.name, as: UTF8.self))
    }
    return names
  }
}
