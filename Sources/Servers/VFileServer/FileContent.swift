import Synchronization
import VObjects
import VProtocol
import VStore

/// Identifies the object of a context: one object through one export.
///
/// An object that is reached through two exports has two contexts, because the rules differ.
struct ObjectKey: Hashable, Sendable {
  var export: Int
  var identity: Descriptor.Identity
}

typealias FileInstance = Instance<FileContent>

/// The open file or directory of an instance.
final class FileContent: Sendable {
  let key: ObjectKey
  /// The process that opened it: locks are told apart by it, even if the instance gets another
  /// owner.
  let process: EntityID
  /// Whether locks were set or requested through it.
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

  /// The open object; `invalidFileID` once the instance has ended.
  var file: HeldObject {
    get throws(StoreFailure) {
      let file = state.withLock { $0.hasEnded ? nil : $0.file }
      guard let file else { throw .refused(.invalidFileID) }
      return file
    }
  }

  /// From now on no operation begins.
  func end() { state.withLock { $0.hasEnded = true } }

  /// The open object of an ended instance, to be closed now, or with the last operation under way.
  func take() -> HeldObject? { state.withLock { $0.file.take() } }
  func putBack(_ file: HeldObject) { state.withLock { $0.file = file } }
}

extension OpenMode {
  /// The attributes of an instance with this mode.
  var fileAttributes: UIOAttributes {
    if contains(.directory) { return [.readable, .variableBlock, .multiBlock] }
    var attributes: UIOAttributes = [.storage, .randomAccess, .multiBlock]
    if readsFile { attributes.insert(.readable) }
    if contains(.write) { attributes.insert(.writeable) }
    if contains(.append) { attributes.insert(.appendOnly) }
    return attributes
  }

  /// Whether its octets may be read.
  var readsFile: Bool { !isDisjoint(with: [.read, .execute]) }
}
