import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// Objects without names.
extension FileServer {
  /// Makes sure that a file without names does not use space on the disk because a context has it
  /// open; called whenever a context is granted.
  func sweepLater() {
    guard !isSweepDue.exchange(true, ordering: .acquiringAndReleasing) else { return }
    backplane.after(Self.sweepInterval) { [self] in
      backplane.disk { [self] in sweep() }
    }
  }

  /// Does `work`, which may remove the last name of the object `name`, and frees the space of a
  /// file at once: the next write may need it.
  func dropping(
    _ name: [UInt8], in directory: HeldObject, as who: Credentials,
    _ work: () throws(StoreFailure) -> Void
  ) throws(StoreFailure) {
    let path = try? RelativePath(name)
    let victim = path.flatMap { try? store.lookUp($0, in: directory.handle, as: who, .mayWait) }
    defer { if let victim { store.close(victim) } }
    try work()
    if let victim { dropIfNameless(victim, export: directory.export) }
  }

  /// Closes a file that has no name any more and is not open.
  func dropIfNameless(_ object: StoreHandle, export: Int) {
    guard let state = try? store.describe(object), state.kind == .file, state.links == 0 else {
      return
    }
    let key = ObjectKey(export: export, identity: state.identity)
    if openings.withLock({ $0[key] }) == nil { contexts.drop(key) }
  }

  private func sweep() {
    isSweepDue.store(false, ordering: .releasing)
    for object in contexts.all { dropIfNameless(object.handle, export: object.export) }
    if contexts.holdsMoreThanPinned { sweepLater() }
  }

  /// How soon the space of a removed file is free; searching a full table takes 10 ms.
  private static let sweepInterval = TimeSpan.seconds(5)
}
