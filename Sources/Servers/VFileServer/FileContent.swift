import Synchronization
import VObjects
import VProtocol
import VStore

/// What stands behind a context: one object, by way of one export.
///
/// The same object by way of two exports is two contexts, since the rules differ.
struct ObjectKey: Hashable, Sendable {
  var export: Int
  var identity: Descriptor.Identity
}

typealias FileInstance = Instance<FileContent>

/// What is open in an instance: a file or a directory.
final class FileContent: Sendable {
  let key: ObjectKey
  /// The process that opened it: locks are told apart by it, whoever owns the instance later.
  let process: EntityID
  /// Locks were set or asked for through it.
  let hadLocks = Atomic(false)
  /// One reader of a directory at a time: its position is the descriptor's.
  let directoryLock = Mutex<Void>(())
  private struct State: Sendable {
    var file: HeldObject?
    var hasEnded = false
  }
  private let state: Mutex<State>

  init(_ file: HeldObject, _ key: ObjectKey, openedBy process: EntityID) {
    self.key = key
    self.process = process
    state = Mutex(State(file: file))
  }

  /// What is open; `invalidFileID` once the instance has ended.
  var file: HeldObject {
    get throws(StoreFailure) {
      let file = state.withLock { $0.hasEnded ? nil : $0.file }
      guard let file else { throw .refused(.invalidFileID) }
      return file
    }
  }

  /// No operation begins any more.
  func end() { state.withLock { $0.hasEnded = true } }

  /// What is still open of an ended instance, to be closed now, or with the last operation at work.
  func take() -> HeldObject? { state.withLock { $0.file.take() } }
  func putBack(_ file: HeldObject) { state.withLock { $0.file = file } }
}

extension OpenMode {
  /// What an instance that was opened so can be used for.
  var fileAttributes: UIOAttributes {
    if contains(.directory) { return [.readable, .variableBlock, .multiBlock] }
    var attributes: UIOAttributes = [.storage, .randomAccess, .multiBlock]
    if readsFile { attributes.insert(.readable) }
    if contains(.write) { attributes.insert(.writeable) }
    if contains(.append) { attributes.insert(.appendOnly) }
    return attributes
  }

  /// Gives the octets of a file.
  var readsFile: Bool { !isDisjoint(with: [.read, .execute]) }
}
