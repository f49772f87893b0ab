public import Synchronization
public import VProtocol
public import VRuntime

/// The contexts that a manager granted: a bounded table with the object of each.
///
/// An object has one context while it is in the table. When the table is full, an entry that was
/// not used lately is dropped (second chance); its context is then `invalidContext`, and the client
/// finds the object again by name. Pinned entries stay.
///
/// A number identifies an object and gives no right: rights are checked at each use.
///
/// Managers use the table at each request: `@inlinable` lets each specialise it for its own types.
public final class ContextTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  @usableFromInline
  struct Entry: Sendable {
    @usableFromInline var context: ContextID
    @usableFromInline var key: Key
    @usableFromInline var value: Value
    @usableFromInline var isRecent = false
    @usableFromInline var isPinned: Bool

    @inlinable
    init(context: ContextID, key: Key, value: Value, isPinned: Bool) {
      self.context = context
      self.key = key
      self.value = value
      self.isPinned = isPinned
    }
  }

  @usableFromInline
  struct State: Sendable {
    @usableFromInline var entries: [Entry] = []
    @usableFromInline var places: [ContextID: Int] = [:]
    @usableFromInline var placesByKey: [Key: Int] = [:]
    /// Where the search for an entry to drop continues.
    @usableFromInline var hand = 0
    @usableFromInline var pinnedCount = 0

    @inlinable init() {}
  }

  @usableFromInline let backplane: any Backplane
  @usableFromInline let capacity: Int
  @usableFromInline let state = Mutex(State())

  /// `capacity` does not count pinned entries.
  @inlinable
  public init(_ backplane: any Backplane, capacity: Int = InstanceLimits.contextsMax) {
    precondition(capacity > 0, "a table has room for one")
    self.backplane = backplane
    self.capacity = capacity
  }

  /// The object of a context; nil if it was never granted or has been dropped.
  @inlinable
  public subscript(context: ContextID) -> Value? {
    state.withLock { state in
      guard let place = state.places[context] else { return nil }
      state.entries[place].isRecent = true
      return state.entries[place].value
    }
  }

  /// The context of an object: the one that it has, or a new one with `value`.
  ///
  /// A well-known root has a fixed number.
  @inlinable
  public func grant(
    _ key: Key, _ value: Value, isPinned: Bool = false, as wellKnown: ContextID? = nil
  ) -> ContextID {
    let (context, dropped) = state.withLock { state -> (ContextID, Value?) in
      if let place = state.placesByKey[key] {
        state.entries[place].isRecent = true
        return (state.entries[place].context, nil)
      }
      var context = wellKnown ?? .none
      while context == .none || state.places[context] != nil {
        context = ContextID(rawValue: backplane.random())
      }
      let entry = Entry(
        context: context, key: key, value: value, isPinned: isPinned)
      return (context, state.insert(entry, capacity))
    }
    // Freed here, outside the lock.
    withExtendedLifetime(dropped) {}
    return context
  }

  /// The value of an object that has a context now; else nil.
  @inlinable
  public subscript(key key: Key) -> Value? {
    state.withLock { state in
      guard let place = state.placesByKey[key] else { return nil }
      state.entries[place].isRecent = true
      return state.entries[place].value
    }
  }

  /// All entries that are not pinned.
  @inlinable
  public var all: [Value] {
    state.withLock { $0.entries.filter { !$0.isPinned }.map(\.value) }
  }

  /// Drops the context of an object.
  @inlinable
  public func drop(_ key: Key) {
    let dropped = state.withLock { $0.remove(key) }
    withExtendedLifetime(dropped) {}
  }

  @inlinable
  public var holdsMoreThanPinned: Bool {
    state.withLock { $0.entries.count > $0.pinnedCount }
  }
}

extension ContextTable.State {
  /// Adds an entry; returns the entry that it replaced, if any, for the caller to free.
  @inlinable
  mutating func insert(
    _ entry: ContextTable.Entry, _ capacity: Int
  ) -> Value? {
    if entry.isPinned { pinnedCount += 1 }
    guard !entry.isPinned, entries.count - pinnedCount >= capacity else {
      put(entry, at: entries.count)
      return nil
    }
    while entries[hand].isPinned || entries[hand].isRecent {
      entries[hand].isRecent = false
      hand = (hand + 1) % entries.count
    }
    let old = entries[hand]
    places[old.context] = nil
    placesByKey[old.key] = nil
    put(entry, at: hand)
    hand = (hand + 1) % entries.count
    return old.value
  }

  /// Puts an entry in a place, or after the last one.
  @inlinable
  mutating func put(_ entry: ContextTable.Entry, at place: Int) {
    places[entry.context] = place
    placesByKey[entry.key] = place
    if place < entries.count { entries[place] = entry } else { entries.append(entry) }
  }

  @inlinable
  mutating func remove(_ key: Key) -> Value? {
    guard let place = placesByKey.removeValue(forKey: key) else { return nil }
    let old = entries[place]
    places[old.context] = nil
    if old.isPinned { pinnedCount -= 1 }
    let last = entries.removeLast()
    if place < entries.count { put(last, at: place) }
    hand = entries.isEmpty ? 0 : hand % entries.count
    return old.value
  }
}
