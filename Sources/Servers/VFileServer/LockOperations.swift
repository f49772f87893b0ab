import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// Locks on instances, and extended attributes of objects.
extension FileServer {
  /// Answered when the lock is given; the data for that are in memory.
  func lockInstance(_ request: Request, _ instance: FileInstance) {
    backplane.serve(LockInstance.self, request) { operation in
      if !operation.lock.isWhole {
        // As on Linux, a lock on a range needs the right to read or write.
        if operation.lock.kind == .shared && !instance.mode.readsFile {
          return backplane.refuse(.notReadable, request)
        }
        if operation.lock.kind == .exclusive && !instance.mode.contains(.write) {
          return backplane.refuse(.notWriteable, request)
        }
      }
      instance.content.hadLocks.store(true, ordering: .releasing)
      locks.lock(operation, of: instance, request)
    }
  }

  func queryLock(
    _ query: QueryLock, _ instance: FileInstance, _ turn: Turn
  ) throws(StoreFailure) -> QueryLock.Answer {
    QueryLock.Answer(lock: try locks.query(query.lock, of: instance, turn.request))
  }

  func queryAttribute(
    _ query: QueryAttribute, _ turn: Turn
  ) throws(StoreFailure) -> QueryAttribute.Answer {
    let place = try place(query.name, turn)
    try Self.check(query.attribute, as: place.who, orElse: .noAttribute)
    let object = try find(place, turn.patience)
    return QueryAttribute.Answer(
      data: try store.attribute(query.attribute, of: object.handle, as: place.who))
  }

  func listAttributes(
    _ query: ListAttributes, _ turn: Turn
  ) throws(StoreFailure) -> ListAttributes.Answer {
    let place = try place(query.name, turn)
    let object = try find(place, turn.patience)
    let names = try store.attributeNames(of: object.handle, as: place.who)
    let served = names.filter {
      (try? Self.check($0, as: place.who, orElse: .noAttribute)) != nil
    }
    let list = Array(served.map { $0 + [0] }.joined())
    guard list.count <= Message.segmentBytesMax else { throw .refused(.tooLarge) }
    return ListAttributes.Answer(data: list)
  }

  func changeAttribute(
    _ operation: ChangeAttribute, _ turn: Turn
  ) throws(StoreFailure) -> Done {
    let place = try place(operation.name, turn)
    try Self.check(operation.attribute, as: place.who, orElse: .notOwner)
    try mustBeWriteable(place.object.export)
    let object = try find(place, turn.patience)
    try store.changeAttribute(
      operation.attribute, of: object.handle, operation.change, as: place.who)
    return Done()
  }

  /// Accepts the attributes that mean the same on every host: access control lists have numbers of
  /// users, and security labels belong to one machine's policy.
  ///
  /// Linux requires a capability for trusted ones, which a thread keeps when it acts for a user.
  private static func check(
    _ attribute: [UInt8], as who: Credentials, orElse code: ReplyCode
  ) throws(StoreFailure) {
    let isTrusted = attribute.starts(with: "trusted.".utf8)
    guard isTrusted || attribute.starts(with: "user.".utf8), !attribute.contains(0),
      attribute.count <= ChangeAttribute.attributeBytesMax
    else { throw .refused(.notSupported) }
    guard who.isRoot || !isTrusted else { throw .refused(code) }
  }
}
