internal import Glibc
internal import VProtocol
internal import VRuntime

/// GETXATTR, LISTXATTR, SETXATTR and REMOVEXATTR.
///
/// Names under `user.v.` are this mount's own words about an object; they are not listed, so that
/// no program copies them. The others are the manager's, where it keeps any.
extension FuseRequest {
  func getAttribute(of id: NodeID, _ name: [UInt8], room: Int) {
    guard let object = mount.nodes[id]?.object else { return fail(ESTALE) }
    guard name.count <= ChangeAttribute.attributeBytesMax else { return fail(ERANGE) }
    if name.starts(with: Self.ownPrefix) {
      return getOwnAttribute(of: id, object, name, room: room)
    }
    guard Self.isKept(name) else { return fail(EOPNOTSUPP) }
    ask(about: id) {
      QueryAttribute($0.name, attribute: name)
    } then: { [self] answer in
      finish(answer) { reply($0.data, room: room) }
    }
  }

  func listAttributes(of id: NodeID, room: Int) {
    ask(about: id) {
      ListAttributes($0.name)
    } then: { [self] answer in
      // A manager that keeps none has none to list.
      if case .refused(.illegalRequest) = answer { return reply([], room: room) }
      finish(answer) { reply($0.data, room: room) }
    }
  }

  func changeAttribute(of id: NodeID, _ name: [UInt8], _ change: ChangeAttribute.Change) {
    guard name.count <= ChangeAttribute.attributeBytesMax else { return fail(ERANGE) }
    if name.starts(with: Self.ownPrefix) { return fail(EPERM) }
    guard Self.isKept(name) else { return fail(EOPNOTSUPP) }
    ask(about: id) {
      ChangeAttribute($0.name, attribute: name, change)
    } then: { [self] answer in
      finish(answer)
    }
  }

  /// The room is what the program has for the answer; with 0 it asks for the size.
  private func reply(_ value: [UInt8], room: Int) {
    if room == 0 { return reply(attributeBytes: value.count) }
    guard value.count <= room else { return fail(ERANGE) }
    reply(value)
  }

  /// Everything else is refused without asking: the kernel asks for some at every turn.
  private static func isKept(_ name: [UInt8]) -> Bool {
    name.starts(with: "user.".utf8) || name.starts(with: "trusted.".utf8)
  }
}

// MARK: - What the mount says itself

extension FuseRequest {
  private static let ownPrefix = Array("user.v.".utf8)

  private func getOwnAttribute(
    of id: NodeID, _ object: Node.Object, _ name: [UInt8], room: Int
  ) {
    switch String(decoding: name.dropFirst(Self.ownPrefix.count), as: UTF8.self) {
    case "manager": reply(prefix(of: id), room: room)
    case "entity": reply(Array("\(object.manager)".utf8), room: room)
    case "attributes":
      ask(about: id) {
        QueryObject($0.name)
      } then: { [self] answer in
        finish(answer) { reply(Array("\($0.attributes)".utf8), room: room) }
      }
    default: fail(ENODATA)
    }
  }

  /// The prefix that the manager of a node claimed; empty for what lies above all prefixes.
  private func prefix(of id: NodeID) -> [UInt8] {
    let nodes = mount.nodes
    var id = id
    while let node = nodes[id], let parent = nodes[node.parent]?.object,
      parent.kind != .sharedContext
    {
      id = node.parent
    }
    guard nodes[id]?.object.kind != .sharedContext else { return [] }
    return nodes.fullName(of: id) ?? []
  }
}
