import VProtocol
import VRuntime

/// Making, removing and renaming names.
extension TreeOperations {
  func add(_ operation: AddName, _ caller: Caller, _ request: Request) {
    find(operation.name, caller) { [self] found in
      switch found {
      case .refused(let code): objects.backplane.refuse(code, request)
      case .object: objects.backplane.refuse(.duplicateName, request)
      case .free(let path, let context, let last):
        make(
          path, context, last, kind: operation.kind, permissions: operation.permissions,
          target: operation.target, caller
        ) { [self] result in
          switch result {
          case .failure(let refusal): objects.refuse(refusal, request)
          case .success(let object):
            objects.backplane.reply(descriptor(path, object, for: caller), to: request)
          }
        }
      }
    }
  }

  /// Makes a free name and calls `made` with its object.
  func make(
    _ path: TreePath, _ context: TreeContext, _ last: Name, kind: ObjectKind,
    permissions: UInt32, target: [UInt8] = [], _ caller: Caller,
    _ made: @escaping @Sendable (Result<TreeObject, Refusal>) -> Void
  ) {
    guard let make = context.make, [.file, .context, .symbolicLink].contains(kind) else {
      return made(.failure(Refusal(.notOwner)))
    }
    guard context.access.rights(of: caller) & 2 != 0 else {
      return made(.failure(Refusal(.noPermission)))
    }
    let making = TreeContext.Making(
      name: last, kind: kind, permissions: permissions & 0o7777, target: target, caller: caller)
    make(making) { refusal in
      if let refusal { return made(.failure(refusal)) }
      made(context.object(last).map { .success($0) } ?? .failure(Refusal(.notFound)))
    }
  }

  func remove(_ operation: RemoveName, _ caller: Caller, _ request: Request) {
    find(operation.name, caller) { [self] found in
      switch found {
      case .refused(let code): objects.backplane.refuse(code, request)
      case .free: objects.backplane.refuse(.notFound, request)
      case .object(let path, let object, let context):
        guard let context, let remove = context.remove, let last = path.last else {
          return objects.backplane.refuse(.notOwner, request)
        }
        let isContext = object.kind == .context
        guard isContext == operation.isContext else {
          return objects.backplane.refuse(isContext ? .isContext : .notContext, request)
        }
        guard context.access.rights(of: caller) & 2 != 0 else {
          return objects.backplane.refuse(.noPermission, request)
        }
        let take: @Sendable () -> Void = { [self] in
          remove(last, caller) { [self] refusal in
            if let refusal { return objects.refuse(refusal, request) }
            objects.backplane.reply(Done(), to: request)
          }
        }
        guard context.isKeptWhileOpen else { return take() }
        unlessOpen(path.dropLast(), caller, request, take)
      }
    }
  }

  /// Linux closes a directory a moment after its program did.
  private static let closingLimit = TimeSpan.milliseconds(50)

  private func unlessOpen(
    _ path: TreePath, _ caller: Caller, _ request: Request, isAgain: Bool = false,
    _ body: @escaping @Sendable () -> Void
  ) {
    let isOpen = objects.instances.newest(openedBy: caller.principal) { $0.path == path } != nil
    guard isOpen else { return body() }
    if isAgain {
      return objects.refuse(
        Refusal(.inUse, "rm -r removes nothing here, only rm by name"), request)
    }
    objects.backplane.after(Self.closingLimit) { [self] in
      unlessOpen(path, caller, request, isAgain: true, body)
    }
  }

  /// Gives a new name in the same context; for another context the refusal makes programs copy.
  func rename(_ operation: RenameObject, _ caller: Caller, _ request: Request) {
    find(operation.old, caller) { [self] found in
      guard case .object(let old, _, let context?) = found else {
        if case .refused(let code) = found { return objects.backplane.refuse(code, request) }
        return objects.backplane.refuse(.notFound, request)
      }
      guard let rename = context.rename else { return objects.backplane.refuse(.notOwner, request) }
      guard context.access.rights(of: caller) & 2 != 0 else {
        return objects.backplane.refuse(.noPermission, request)
      }
      find(ContextName(operation.newContext, operation.newName), caller) { [self] found in
        let (new, isTaken): (TreePath, Bool)
        switch found {
        case .object(let path, _, _): (new, isTaken) = (path, true)
        case .free(let path, _, _): (new, isTaken) = (path, false)
        case .refused(let code): return objects.backplane.refuse(code, request)
        }
        if isTaken && operation.mode == .noReplace {
          return objects.backplane.refuse(.duplicateName, request)
        }
        guard operation.mode != .exchange, old.dropLast() == new.dropLast(), let last = new.last
        else { return objects.backplane.refuse(.differentManager, request) }
        rename(old[old.count - 1], last, caller) { [self] refusal in
          if let refusal { return objects.refuse(refusal, request) }
          objects.backplane.reply(Done(), to: request)
        }
      }
    }
  }
}
