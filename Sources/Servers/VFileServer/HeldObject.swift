import VStore

/// A handle of the store that is closed when its last reference is gone.
///
/// Tables have references, and so does every operation under way: dropping an entry never closes a
/// handle that is in use.
final class HeldObject: Sendable {
  let store: any FileStore
  let handle: StoreHandle
  /// The export that it was found through, whose rules apply.
  let export: Int

  init(_ handle: StoreHandle, of store: any FileStore, export: Int) {
    self.handle = handle
    self.store = store
    self.export = export
  }

  deinit { store.close(handle) }
}
