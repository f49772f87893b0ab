internal import VClient
public import VFuse
internal import VProtocol
internal import VRuntime

/// GETXATTR, LISTXATTR, SETXATTR and REMOVEXATTR.
///
/// Names under `user.v.` are this mount's own attributes of an object; they are not listed, so that
/// no program copies them. All others are the manager's, if it keeps any.
extension Mount {
  public func getExtendedAttribute(
    _ request: FuseRequest, of node: NodeNumber, _ name: [UInt8], room: Int
  ) {
    guard let object = client.objects[node]?.object else { return request.fail(FuseError.stale) }
    guard name.count <= ChangeAttribute.attributeBytesMax else {
      return request.fail(FuseError.outOfRange)
    }
    if name.starts(with: Self.ownPrefix) {
      return getOwnAttribute(request, of: node, object, name, room: room)
    }
    guard Self.isKept(name) else { return request.fail(FuseError.notSupported) }
    call(request).ask(about: node) {
      QueryAttribute($0.name, attribute: name)
    } then: { answer in
      request.finish(answer) { request.reply($0.data, room: room) }
    }
  }

  public func listExtendedAttributes(_ request: FuseRequest, of node: NodeNumber, room: Int) {
    call(request).ask(about: node) {
      ListAttributes($0.name)
    } then: { answer in
      // A manager that keeps none has an empty list.
      if case .refused(.illegalRequest) = answer { return request.reply([], room: room) }
      request.finish(answer) { request.reply($0.data, room: room) }
    }
  }

  public func changeExtendedAttribute(
    _ request: FuseRequest, of node: NodeNumber, _ name: [UInt8], _ change: ExtendedChange
  ) {
    let (change, size) = Self.change(change)
    guard size <= ChangeAttribute.valueBytesMax else { return request.fail(FuseError.tooLarge) }
    guard name.count <= ChangeAttribute.attributeBytesMax else {
      return request.fail(FuseError.outOfRange)
    }
    if name.starts(with: Self.ownPrefix) { return request.fail(FuseError.notPermitted) }
    guard Self.isKept(name) else { return request.fail(FuseError.notSupported) }
    call(request).ask(about: node) {
      ChangeAttribute($0.name, attribute: name, change)
    } then: { answer in
      request.finish(answer)
    }
  }

  private static func change(_ change: ExtendedChange) -> (ChangeAttribute.Change, size: Int) {
    switch change {
    case .set(let value): (.set(value), value.count)
    case .create(let value): (.create(value), value.count)
    case .replace(let value): (.replace(value), value.count)
    case .remove: (.remove, 0)
    }
  }

  /// All other names are refused without a request: the kernel asks for some very often.
  private static func isKept(_ name: [UInt8]) -> Bool {
    name.starts(with: "user.".utf8) || name.starts(with: "trusted.".utf8)
  }

  // MARK: What the mount says itself

  private static let ownPrefix = Array("user.v.".utf8)

  private func getOwnAttribute(
    _ request: FuseRequest, of node: NodeNumber, _ object: KnownObject.Object, _ name: [UInt8],
    room: Int
  ) {
    switch String(decoding: name.dropFirst(Self.ownPrefix.count), as: UTF8.self) {
    case "manager": request.reply(client.prefix(of: node), room: room)
    case "entity": request.reply(Array("\(object.manager)".utf8), room: room)
    case "attributes":
      call(request).ask(about: node) {
        QueryObject($0.name)
      } then: { answer in
        request.finish(answer) { request.reply(Array("\($0.attributes)".utf8), room: room) }
      }
    default: request.fail(FuseError.noAttribute)
    }
  }
}

extension FuseRequest {
  /// The room is the size of the program's buffer; with 0 it asks for the size.
  fileprivate func reply(_ value: [UInt8], room: Int) {
    if room == 0 { return reply(attributeBytes: value.count) }
    guard value.count <= room else { return fail(FuseError.outOfRange) }
    reply(value)
  }
}
