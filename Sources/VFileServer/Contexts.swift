import Synchronization
package import VProtocol
package import VStore

/// A handle of the store that is closed when nobody uses it any more.
///
/// Tables hold references, and so does every operation at work: dropping an entry never closes a
/// handle under somebody's hands.
package final class HeldObject: Sendable {
  package let store: any FileStore
  package let handle: StoreHandle
  /// The export that it was found through, whose rules hold for it.
  let export: Int

  package init(_ handle: StoreHandle, of store: any FileStore, export: Int) {
    self.handle = handle
    self.store = store
    self.export = export
  }

  deinit { store.close(handle) }
}

/// The contexts granted to clients: a bounded table of held objects.
///
/// One object has one context while it is in the table, whatever names it has. When the table is
/// full, an entry that was not used lately makes room (second chance); its context is then
/// `invalidContext`, and the client finds the object again by name. The roots of exports stay.
///
/// A context is a capability: whoever has the identifier passes over the permissions of the
/// directories above the object, as with NFS, though not over those of the object.
package final class Contexts: Sendable {
  /// The same object by way of two exports is two contexts, since the rules differ.
  package struct Key: Hashable {
    var export: Int
    var identity: Descriptor.Identity

    package init(export: Int, identity: Descriptor.Identity) {
      self.export = export
      self.identity = identity
    }
  }

  fileprivate struct Entry {
    var context: ContextID
    var key: Key
    var object: HeldObject
    var isRecent: Bool
    var isPinned: Bool
  }

  fileprivate struct State {
    var entries: [Entry] = []
    var places: [ContextID: Int] = [:]
    var contexts: [Key: ContextID] = [:]
    /// Where the search for an entry to drop goes on.
    var hand = 0
    var identifiers: PermutedCounter
  }

  private let capacity: Int
  private let state: Mutex<State>

  package init(capacity: Int = Contexts.capacityMax, key: UInt64) {
    precondition(capacity > Export.exportsMax, "roots must leave room for other contexts")
    self.capacity = capacity
    state = Mutex(State(identifiers: PermutedCounter(key: key)))
  }

  /// The object of a context; nil where the context was never granted or has been dropped.
  package func object(_ context: ContextID) -> HeldObject? {
    state.withLock { state in
      guard let place = state.places[context] else { return nil }
      state.entries[place].isRecent = true
      return state.entries[place].object
    }
  }

  /// The context of an object: the one that it has, or a new one that holds `object`.
  package func grant(_ object: HeldObject, _ key: Key, isPinned: Bool = false) -> ContextID {
    let (context, dropped) = state.withLock { state -> (ContextID, HeldObject?) in
      if let context = state.contexts[key], let place = state.places[context] {
        state.entries[place].isRecent = true
        return (context, nil)
      }
      var context: ContextID
      repeat {
        context = ContextID(rawValue: UInt64(state.identifiers.next()))
      } while state.places[context] != nil
      let entry = Entry(
        context: context, key: key, object: object, isRecent: false, isPinned: isPinned)
      return (context, state.insert(entry, capacity))
    }
    // Closed here, outside the lock.
    withExtendedLifetime(dropped) {}
    return context
  }

  /// Objects that are not roots.
  package func all() -> [HeldObject] {
    state.withLock { $0.entries.filter { !$0.isPinned }.map(\.object) }
  }

  /// Drops the context of an object.
  package func drop(_ key: Key) {
    let dropped = state.withLock { $0.remove(key) }
    withExtendedLifetime(dropped) {}
  }

  var holdsMoreThanRoots: Bool { state.withLock { $0.entries.contains { !$0.isPinned } } }

  /// Each holds a descriptor; with the instances that leaves room under a limit of 20,000.
  package static let capacityMax = 8192
}

extension Contexts.State {
  /// Puts an entry in; the object that had to make room for it, if any, is the caller's to drop.
  fileprivate mutating func insert(_ entry: Contexts.Entry, _ capacity: Int) -> HeldObject? {
    contexts[entry.key] = entry.context
    guard entries.count >= capacity else {
      places[entry.context] = entries.count
      entries.append(entry)
      return nil
    }
    while entries[hand].isPinned || entries[hand].isRecent {
      entries[hand].isRecent = false
      hand = (hand + 1) % entries.count
    }
    let old = entries[hand]
    places[old.context] = nil
    contexts[old.key] = nil
    places[entry.context] = hand
    entries[hand] = entry
    hand = (hand + 1) % entries.count
    return old.object
  }

  fileprivate mutating func remove(_ key: Contexts.Key) -> HeldObject? {
    guard let context = contexts.removeValue(forKey: key),
      let place = places.removeValue(forKey: context)
    else { return nil }
    let old = entries[place]
    let last = entries.removeLast()
    if last.context != context {
      entries[place] = last
      places[last.context] = place
    }
    hand = entries.isEmpty ? 0 : hand % entries.count
    return old.object
  }
}
