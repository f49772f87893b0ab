import Synchronization
import VProtocol
import VRuntime

/// Opening by name.
extension TreeOperations {
  func create(_ operation: CreateInstance, _ caller: Caller, _ request: Request) {
    do throws(Refusal) {
      try objects.instances.reserve(for: caller)
    } catch {
      return objects.refuse(error, request)
    }
    let opening = Opening(operation: operation, caller: caller, request: request)
    find(operation.name, caller) { [self] found in
      switch found {
      case .refused(let code): fail(opening, Refusal(code))
      case .free(let path, let context, let last) where operation.mode.contains(.create):
        make(
          path, context, last, kind: .file, permissions: operation.permissions, caller
        ) { [self] result in
          switch result {
          case .failure(let refusal): fail(opening, refusal)
          // A user that makes it may open it, whatever rights it gives to others.
          case .success(let object): open(path, object, opening, isNew: true)
          }
        }
      case .free: fail(opening, Refusal(.notFound))
      case .object(let path, let object, _):
        if operation.mode.contains([.create, .exclusive]) {
          return fail(opening, Refusal(.duplicateName))
        }
        let wanted = ObjectServer<TreeContent>.rights(wantedBy: operation, caller)
        guard wanted & ~object.rights(of: caller) == 0 else {
          return fail(opening, Refusal(.noPermission))
        }
        open(path, object, opening, isNew: false)
      }
    }
  }

  /// An opening with a reserved place.
  private struct Opening: Sendable {
    var operation: CreateInstance
    var caller: Caller
    var request: Request
  }

  private func fail(_ opening: Opening, _ refusal: Refusal) {
    objects.instances.cancel(for: opening.caller)
    objects.refuse(refusal, opening.request)
  }

  private func open(_ path: TreePath, _ object: TreeObject, _ opening: Opening, isNew: Bool) {
    let mode = opening.operation.mode
    let finish: @Sendable (TreeContent.Object) -> Void = { [self] content in
      add(TreeContent(path: path, object: content), object, opening, isNew: isNew)
    }
    switch object {
    case .context(let context):
      guard mode.contains(.directory) else { return fail(opening, Refusal(.isContext)) }
      let list: Outcome = { [self] refusal in
        if let refusal { return fail(opening, refusal) }
        finish(.records(records(of: context, path)))
      }
      if let prepare = context.prepare { prepare(nil, opening.caller, list) } else { list(nil) }
    case _ where mode.contains(.directory): fail(opening, Refusal(.notContext))
    case .link: fail(opening, Refusal(.tooManyLinks))
    case .text(let text):
      let make: @Sendable () -> Void = { [self] in
        let octets = self.text(of: text, path, opening.caller)
        finish(.text(Array(octets.utf8), changedAt: changedAt(path, octets), text))
      }
      if let prepare = text.prepare { prepare(make) } else { make() }
    case .file(let file):
      file.open(TreeOpening(mode: mode, caller: opening.caller)) { [self] result in
        switch result {
        case .success(let session): finish(.session(session))
        case .failure(let refusal): fail(opening, refusal)
        }
      }
    }
  }

  private func add(
    _ content: TreeContent, _ object: TreeObject, _ opening: Opening, isNew: Bool
  ) {
    let (principal, count) = (opening.caller.principal, content.octets)
    guard octets.withLock({ $0.take(principal, count) }) else {
      return fail(
        opening,
        Refusal(
          .noServerResources,
          "what \(principal) has open of \(objects.backplane.host) holds too much memory there"))
    }
    let instance = objects.enter(content, for: opening.operation, opening.caller)
    let descriptor = descriptor(content.path, object, opening.caller, as: content)
    objects.backplane.reply(
      CreateInstance.Answer(
        instance: instance.id, attributes: descriptor.attributes, isNew: isNew,
        descriptor: descriptor), to: opening.request)
  }

  /// Frees what an ended instance kept.
  func giveBack(_ instance: Instance<TreeContent>) {
    octets.withLock { $0.give(instance.caller.principal, instance.content.octets) }
  }

  private func records(of context: TreeContext, _ path: TreePath) -> [Descriptor] {
    context.names().compactMap { name in
      context.object(name).map { record(path + [name], $0) }
    }
  }
}
