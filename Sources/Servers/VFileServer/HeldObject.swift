import VStore

/// A handle of the store that is closed when nobody uses it any more.
///
/// Tables hold references, and so does every operation at work: dropping an entry never closes a
/// handle under somebody's hands.
final class HeldObject: Sendable {
  let store: any FileStore
  let handle: StoreHandle
  /// The export that it was found through, whose rules hold for it.
  let export: Int

  init(_ handle: StoreHandle, of store: any FileStore, export: Int) {
    self.handle = handle
    self.store = store
    self.export = export
  }

  deinit { store.close(handle) }
}
