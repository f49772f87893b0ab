public import VKernel
public import VProtocol
public import VRuntime

/// Entities that move from one node to another, with the code that is called for them.
///
/// A recording has no form for them: it ends at the first one.
extension Node {
  /// An entity on its way: what the kernel knows of it, and what is called when it has a response
  /// or a request.
  public struct MovingEntity: Sendable {
    public let image: EntityImage
    var completion: Completion?
    public var procedure: Procedure?
  }

  /// Stops an entity that is to move to another node; nil if there is none.
  ///
  /// Its process must have stopped before: no action for it may be under way.
  public func freeze(_ entity: EntityID, for kernel: KernelID) -> MovingEntity? {
    var moving: MovingEntity?
    enter(nil) { state, step in
      state.recorder = nil
      guard let image = state.kernel.freeze(entity, for: kernel, &step) else { return }
      moving = MovingEntity(
        image: image,
        completion: image.transaction.flatMap { _ in
          state.completions.removeValue(forKey: entity)?.body
        },
        procedure: state.procedures.removeValue(forKey: entity))
    }
    return moving
  }

  /// Takes in an entity from another node, or one that was frozen here; false if it is here.
  public func adopt(_ moving: MovingEntity) -> Bool {
    for group in moving.image.groups { machine.listen(to: group) }
    let entity = moving.image.entity
    var isTaken = false
    enter(nil) { state, step in
      state.recorder = nil
      state.procedures[entity] = moving.procedure
      if let completion = moving.completion, let id = moving.image.transaction {
        state.completions[entity] = (id, completion)
      }
      isTaken = state.kernel.adopt(moving.image, &step)
      guard !isTaken else { return }
      (state.procedures[entity], state.completions[entity]) = (nil, nil)
    }
    return isTaken
  }

  /// Another node has taken in an entity that was frozen here.
  public func release(_ entity: EntityID) {
    enter(nil) { state, step in state.kernel.release(entity, &step) }
  }

  /// The kernel on which an entity is, as far as this node knows.
  public func kernel(of entity: EntityID) -> KernelID {
    state.withLock { $0.kernel.kernel(of: entity) }
  }
}
