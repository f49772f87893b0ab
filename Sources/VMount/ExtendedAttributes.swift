internal import Glibc
internal import VProtocol
internal import VRuntime

/// GETXATTR, LISTXATTR, SETXATTR and REMOVEXATTR.
///
/// Names under `user.v.` are this mount's own words about an object; they are not listed, so that
/// no program copies them. The others are the manager's, where it keeps any.
extension Mount {
  func getAttribute(
    _ request: FuseRequest, of id: NodeID, _ name: [UInt8], room: Int
  ) {
    guard let object = nodes[id]?.object else { return request.fail(ESTALE) }
    guard name.count <= ChangeAttribute.attributeBytesMax else { return request.fail(ERANGE) }
    if name.starts(with: Self.ownPrefix) {
      return getOwnAttribute(request, of: id, object, name, room: room)
    }
    guard Self.isKept(name) else { return request.fail(EOPNOTSUPP) }
    ask(about: id, for: request) {
      QueryAttribute(ContextName($0.object), attribute: name)
    } then: {
      Self.reply(request, $0, room: room)
    }
  }

  func listAttributes(_ request: FuseRequest, of id: NodeID, room: Int) {
    ask(about: id, for: request) {
      ListAttributes(ContextName($0.object))
    } then: { answer in
      // A manager that keeps none has none to list.
      if case .refused(.illegalRequest) = answer {
        return Self.reply(request, .done(ListAttributes.Answer(data: []), by: .none), room: room)
      }
      Self.reply(request, answer, room: room)
    }
  }

  func changeAttribute(
    _ request: FuseRequest, of id: NodeID, _ name: [UInt8], _ change: ChangeAttribute.Change
  ) {
    guard name.count <= ChangeAttribute.attributeBytesMax else { return request.fail(ERANGE) }
    if name.starts(with: Self.ownPrefix) { return request.fail(EPERM) }
    guard Self.isKept(name) else { return request.fail(EOPNOTSUPP) }
    ask(about: id, for: request) {
      ChangeAttribute(ContextName($0.object), attribute: name, change)
    } then: {
      request.finish($0)
    }
  }

  /// The room is what the program has for the answer; with 0 it asks for the size.
  private static func reply(
    _ request: FuseRequest, _ answer: Answer<ReadInstance.Answer>, room: Int
  ) {
    request.finish(answer) { value in
      if room == 0 { return request.reply(attributeBytes: value.data.count) }
      guard value.data.count <= room else { return request.fail(ERANGE) }
      request.reply(value.data)
    }
  }

  /// Everything else is refused without asking: the kernel asks for some at every turn.
  private static func isKept(_ name: [UInt8]) -> Bool {
    name.starts(with: "user.".utf8) || name.starts(with: "trusted.".utf8)
  }
}

// MARK: - What the mount says itself

extension Mount {
  private static let ownPrefix = Array("user.v.".utf8)

  private func getOwnAttribute(
    _ request: FuseRequest, of id: NodeID, _ object: Node.Object, _ name: [UInt8], room: Int
  ) {
    let reply = { @Sendable (text: String) in
      Self.reply(
        request, .done(ReadInstance.Answer(data: Array(text.utf8)), by: .none), room: room)
    }
    switch name.dropFirst(Self.ownPrefix.count) {
    case let rest where rest.elementsEqual("manager".utf8): reply(prefix(of: id))
    case let rest where rest.elementsEqual("entity".utf8): reply("\(object.manager)")
    case let rest where rest.elementsEqual("attributes".utf8):
      ask(about: id, for: request) {
        QueryObject(ContextName($0.object))
      } then: { answer in
        request.finish(answer) { descriptor in reply("\(descriptor.attributes)") }
      }
    default: request.fail(ENODATA)
    }
  }

  /// The prefix that the manager of a node claimed; empty for what lies above all prefixes.
  private func prefix(of id: NodeID) -> String {
    var id = id
    while let node = nodes[id], let parent = nodes[node.parent]?.object,
      parent.kind != .sharedContext
    {
      id = node.parent
    }
    guard nodes[id]?.object.kind != .sharedContext else { return "" }
    return String(decoding: nodes.fullName(of: id) ?? [], as: UTF8.self)
  }
}
