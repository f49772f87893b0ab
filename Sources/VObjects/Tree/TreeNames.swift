import Synchronization
import VProtocol
import VRuntime

/// From a name to what it stands for.
enum FoundName: Sendable {
  /// Its path below the root, and the context that it is in; nil for the root itself.
  case object(String, TreeObject, in: TreeContext?)
  /// The last component is not there; the context is.
  case free(String, TreeContext, last: String)
  case refused(ReplyCode)
}

extension TreeOperations {
  /// Finds what a name stands for; contexts on the way may have to prepare first.
  func find(_ name: ContextName, _ found: @escaping @Sendable (FoundName) -> Void) {
    guard let base = contexts.withLock({ $0.path(of: name.context) }) else {
      return found(.refused(.invalidContext))
    }
    guard let rest = String(validating: name.rest, as: UTF8.self) else {
      return found(.refused(.notFound))
    }
    let components = (base + "/" + rest).split(separator: "/").map(String.init)
    guard components.allSatisfy({ $0.utf8.count <= Descriptor.nameBytesMax }) else {
      return found(.refused(.nameTooLong))
    }
    walk(components, from: 0, in: root, found)
  }

  private func walk(
    _ components: [String], from index: Int, in context: TreeContext,
    _ found: @escaping @Sendable (FoundName) -> Void
  ) {
    guard index < components.count else { return found(.object("", .context(root), in: nil)) }
    guard let prepare = context.prepare else {
      return step(components, at: index, in: context, found)
    }
    prepare(components[index]) { [self] in step(components, at: index, in: context, found) }
  }

  /// One component, of which its context knows now whether it is there.
  private func step(
    _ components: [String], at index: Int, in context: TreeContext,
    _ found: @escaping @Sendable (FoundName) -> Void
  ) {
    let path = components[...index].joined(separator: "/")
    let isLast = index == components.count - 1
    guard let object = context.object(components[index]) else {
      return found(
        isLast ? .free(path, context, last: components[index]) : .refused(.notFound))
    }
    if isLast { return found(.object(path, object, in: context)) }
    guard case .context(let next) = object else { return found(.refused(.notContext)) }
    walk(components, from: index + 1, in: next, found)
  }
}

// MARK: - What objects look like

extension TreeObject {
  public var access: TreeAccess {
    switch self {
    case .context(let context): context.access
    case .text(let text): text.access
    case .file(let file): file.access
    case .link(_, let access): access
    }
  }

  /// What a caller may do with it, as far as it can be done at all.
  func rights(of caller: TreeCaller) -> UInt32 {
    let possible: UInt32 =
      switch self {
      case .context(let context): context.make == nil && context.remove == nil ? 5 : 7
      case .text(let text): text.command == nil ? 4 : 6
      case .file(let file):
        (file.attributes.contains(.readable) ? 4 : 0)
          | (file.attributes.contains(.writeable) ? 2 : 0)
      case .link: 4
      }
    return access.rights(of: caller) & possible
  }

  var kind: ObjectKind {
    switch self {
    case .context: .context
    case .text, .file: .file
    case .link: .symbolicLink
    }
  }
}

extension TreeOperations {
  /// An object as it is now, or as the one who asks has it open.
  func descriptor(_ path: String, _ object: TreeObject, for caller: TreeCaller) -> Descriptor {
    descriptor(
      path, object, caller, as: instances.newest(of: path, openedBy: caller.principal))
  }

  func descriptor(
    _ path: String, _ object: TreeObject, _ caller: TreeCaller, as instance: TreeInstance?
  ) -> Descriptor {
    let access = object.access
    var descriptor = record(path, object)
    descriptor.context = contexts.withLock { $0.context(of: path) }
    descriptor.owner = access.owner
    descriptor.group = access.group
    descriptor.permissions = access.permissions & 0o7777
    var time = access.modified ?? startedAt
    switch object {
    case .context:
      descriptor.links = 2
      descriptor.attributes = [.readable, .variableBlock, .multiBlock]
    case .link(let target, _):
      descriptor.attributes = [.readable]
      descriptor.size = UInt64(target.utf8.count)
    case .file(let file):
      descriptor.attributes = file.attributes
      descriptor.size = file.size
    case .text(let text):
      descriptor.attributes = [.readable, .fixedLength, .randomAccess, .multiBlock]
      if text.command != nil { descriptor.attributes.insert(.writeable) }
      if let instance, case .text(let octets, let changed, _) = instance.content {
        descriptor.size = UInt64(octets.count)
        time = changed
      } else {
        let octets = self.text(of: text, path, caller)
        descriptor.size = UInt64(octets.utf8.count)
        time = changedAt(path, octets)
      }
    }
    descriptor.modified = time
    descriptor.changed = time
    descriptor.accessed = time
    descriptor.born = access.modified == nil ? startedAt : time
    return descriptor
  }

  /// What a user reads in a text now, the words of their last refusal there included.
  func text(of text: TreeText, _ path: String, _ caller: TreeCaller) -> String {
    text.make() + refused.withLock { $0.text(path, caller.principal) }
  }

  func changedAt(_ path: String, _ text: String) -> Int64 {
    changes.withLock { $0.time(of: path, text, at: backplane.wallClock) }
  }

  /// What a listing tells of an object.
  func record(_ path: String, _ object: TreeObject) -> Descriptor {
    // FNV-1a: an object is the same one, by its name, over restarts of the node.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for octet in path.utf8 { hash = (hash ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
    var descriptor = Descriptor(
      kind: object.kind,
      identity: Descriptor.Identity(
        device: 0, inode: hash, generation: object.access.generation))
    descriptor.name = Array((path.split(separator: "/").last ?? "").utf8)
    return descriptor
  }
}
