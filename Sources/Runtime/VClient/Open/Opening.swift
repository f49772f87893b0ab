public import VProtocol
public import VRuntime

/// The result of an open.
public struct Opened: Sendable {
  public var id: OpenID
  public var attributes: UIOAttributes
  /// A descriptor that a manager of this host passed with its answer, for passthrough.
  public var passed: PassedDescriptor?
}

/// Opening, making and closing: an open object is an instance.
extension Call {
  /// Opens an instance of a known object.
  ///
  /// The operation is not abandoned when a signal ends the call: if its instance comes after all,
  /// it is released. Opening a stream may wait for another program until a signal comes. If the
  /// caller can no longer take the answer, it closes the instance.
  public func open(
    _ id: ObjectID, _ mode: OpenMode, then: @escaping @Sendable (Answer<Opened>) -> Void
  ) {
    let isStream = client.objects[id]?.object.isStream == true
    let undo: (@Sendable () -> Void)? = if isStream { {} } else { nil }
    ask(about: id, mayRepeat: true, mustEnd: true, undo: undo) { [client] target in
      CreateInstance(target.name, mode: mode, owner: client.owner)
    } then: { [self] answer in
      switch answer {
      case .refused(let refusal): then(.refused(refusal))
      case .done(let created, let manager):
        guard created.descriptor.identity == client.objects[id]?.object.identity else {
          client.release(created.instance, of: manager, as: user)
          return then(.refused(.invalidFileID))
        }
        then(.done(noteOpen(of: id, created, by: manager, mode), by: manager))
      }
    }
  }

  /// Opens an object by its whole name from the root, by one message: the directory hands it to the
  /// manager that has the prefix.
  ///
  /// No symbolic links are followed.
  public func open(
    path: [UInt8], _ mode: OpenMode, then: @escaping @Sendable (Answer<OpenID>) -> Void
  ) {
    make(path, below: ObjectTable.root, mode, permissions: 0) { [self] answer in
      switch answer {
      case .refused(let refusal): then(.refused(refusal))
      case .done(let made, let manager):
        let (id, _, opened) = enter(made, by: manager, below: ObjectTable.root, path)
        // What is open keeps the object known.
        client.objects.forget(id, 1)
        then(.done(opened.id, by: manager))
      }
    }
  }

  /// What came of `make`, before it is known; to be entered or taken back.
  public struct Made: Sendable {
    public var descriptor: Descriptor
    fileprivate var created: CreateInstance.Answer
    fileprivate var mode: OpenMode
  }

  /// Opens the object of a name, and makes it if it does not exist.
  public func make(
    _ name: [UInt8], below parent: ObjectID, _ mode: OpenMode, permissions: UInt32,
    then: @escaping @Sendable (Answer<Made>) -> Void
  ) {
    // Only an exclusive operation shows whether it was done before.
    let mayRepeat = !mode.contains(.exclusive)
    ask(about: parent, name, mayRepeat: mayRepeat, mustEnd: true, undo: nil) { [client] target in
      CreateInstance(target.name, mode: mode, permissions: permissions, owner: client.owner)
    } then: { answer in
      switch answer {
      case .refused(let refusal): then(.refused(refusal))
      case .done(let created, let manager):
        let made = Made(descriptor: created.descriptor, created: created, mode: mode)
        then(.done(made, by: manager))
      }
    }
  }

  /// Makes the new object known under its name.
  public func enter(
    _ made: Made, by manager: EntityID, below parent: ObjectID, _ name: [UInt8]
  ) -> (id: ObjectID, known: KnownObject, opened: Opened) {
    let (id, known) = client.enter(made.descriptor, of: manager, below: parent, name)
    return (id, known, noteOpen(of: id, made.created, by: manager, made.mode))
  }

  /// Releases a new instance, but keeps its object.
  public func takeBack(_ made: Made, by manager: EntityID) {
    client.release(made.created.instance, of: manager, as: user)
  }

  private func noteOpen(
    of id: ObjectID, _ created: CreateInstance.Answer, by manager: EntityID, _ mode: OpenMode
  ) -> Opened {
    let open = OpenObject(object: id, user: user, mode: mode, manager: manager, created)
    client.objects.countOpen(of: id)
    return Opened(
      id: client.opens.add(open), attributes: created.attributes, passed: takePassed())
  }
}

extension Client {
  /// Closes an open object; the answer of its manager is not waited for.
  ///
  /// Returns its object and its mode; nil if nothing is open by this number.
  @discardableResult
  public func close(_ id: OpenID) -> (object: ObjectID, mode: OpenMode)? {
    guard let open = opens.remove(id) else { return nil }
    objects.countClose(of: open.object)
    let unlocks = locks.beginClose(of: id, open.object)
    release(open.instance, of: open.manager, as: open.user) { [locks] in
      if unlocks { locks.endClose(of: open.object) }
    }
    return (open.object, open.mode)
  }
}
