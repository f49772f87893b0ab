import Synchronization
public import VProtocol
import VRuntime

/// The path of an object below the root of a tree.
public typealias TreePath = [Name]

/// The result of looking up a name.
enum FoundName: Sendable {
  /// Its path below the root, and its context; nil for the root itself.
  case object(TreePath, TreeObject, in: TreeContext?)
  /// The last component does not exist; its context does.
  case free(TreePath, TreeContext, last: Name)
  case refused(ReplyCode)
}

extension TreeOperations {
  /// Each context keeps its whole path, and each component needs some stack.
  private static let depthMax = 128

  /// Finds the object of a name, through contexts that the caller may pass; a context may have to
  /// prepare first.
  func find(
    _ name: ContextName, _ caller: Caller, _ found: @escaping @Sendable (FoundName) -> Void
  ) {
    let context = name.context == .none ? TreeManager.root : name.context
    guard let base = contexts[context] else { return found(.refused(.invalidContext)) }
    let rest = name.rest.split(separator: UInt8(ascii: "/")).map { Name($0) }
    guard base.count + rest.count <= Self.depthMax,
      rest.allSatisfy({ $0.octets.count <= Descriptor.nameBytesMax })
    else {
      return found(.refused(.nameTooLong))
    }
    find(base + rest, caller, found)
  }

  func find(
    _ path: TreePath, _ caller: Caller, _ found: @escaping @Sendable (FoundName) -> Void
  ) {
    walk(path, from: 0, in: root, caller, found)
  }

  private func walk(
    _ path: TreePath, from index: Int, in context: TreeContext, _ caller: Caller,
    _ found: @escaping @Sendable (FoundName) -> Void
  ) {
    guard index < path.count else { return found(.object([], .context(root), in: nil)) }
    guard context.access.rights(of: caller) & 1 != 0 else { return found(.refused(.noPermission)) }
    guard let prepare = context.prepare else {
      return step(path, at: index, in: context, caller, found)
    }
    prepare(path[index], caller) { [self] refusal in
      if let refusal { return found(.refused(refusal.code)) }
      step(path, at: index, in: context, caller, found)
    }
  }

  /// Looks up one component, after its context has prepared.
  private func step(
    _ path: TreePath, at index: Int, in context: TreeContext, _ caller: Caller,
    _ found: @escaping @Sendable (FoundName) -> Void
  ) {
    let isLast = index == path.count - 1
    guard let object = context.object(path[index]) else {
      return found(isLast ? .free(path, context, last: path[index]) : .refused(.notFound))
    }
    if isLast { return found(.object(path, object, in: context)) }
    guard case .context(let next) = object else { return found(.refused(.notContext)) }
    walk(path, from: index + 1, in: next, caller, found)
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

  /// The rights of a caller, as far as the object supports them.
  func rights(of caller: Caller) -> UInt32 {
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
  /// Describes an object as it is now, or as the caller has it open.
  func descriptor(_ path: TreePath, _ object: TreeObject, for caller: Caller) -> Descriptor {
    guard case .text = object else { return descriptor(path, object, caller, as: nil) }
    let newest = objects.instances.newest(openedBy: caller.principal) { $0.path == path }
    return descriptor(path, object, caller, as: newest?.content)
  }

  func descriptor(
    _ path: TreePath, _ object: TreeObject, _ caller: Caller, as opened: TreeContent?
  ) -> Descriptor {
    let access = object.access
    var descriptor = record(path, object)
    descriptor.context = contexts.grant(path, path)
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
      descriptor.size = UInt64(target.count)
    case .file(let file):
      descriptor.attributes = file.attributes
      descriptor.size = file.size
    case .text(let text):
      descriptor.attributes = [.readable, .fixedLength, .randomAccess, .multiBlock]
      if text.command != nil { descriptor.attributes.insert(.writeable) }
      if case .text(let octets, let changed, _) = opened?.object {
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

  /// The text that a user would read now, including the words of the user's last refusal.
  ///
  /// A user who may not read it learns nothing of it, not even its length.
  func text(of text: TreeText, _ path: TreePath, _ caller: Caller) -> String {
    guard text.access.rights(of: caller) & 4 != 0 else { return "" }
    return text.make(caller) + refused.withLock { $0.text(Self.name(of: path), caller.principal) }
  }

  func changedAt(_ path: TreePath, _ text: String) -> Int64 {
    changes.withLock { $0.time(of: path, text, at: objects.backplane.wallClock) }
  }

  /// A path as one name.
  static func name(of path: TreePath) -> Name {
    Name(path.map(\.octets).joined(separator: [UInt8(ascii: "/")]))
  }

  /// The record of an object in a listing.
  func record(_ path: TreePath, _ object: TreeObject) -> Descriptor {
    // An object keeps its identity, by its name, over restarts of the node.
    var descriptor = Descriptor(
      kind: object.kind,
      identity: Descriptor.Identity(
        device: 0, inode: Self.name(of: path).stableHash,
        generation: object.access.generation))
    descriptor.name = path.last?.octets ?? []
    return descriptor
  }
}
