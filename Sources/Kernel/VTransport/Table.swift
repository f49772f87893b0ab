/// A dictionary whose values are read and changed where they are.
///
/// `Dictionary` copies a whole value to read one field of it, and moves it out and in again to
/// change one. Entities, records and peers have several hundred octets and a dozen references each,
/// and a Send looks at them some twenty times: it takes a third less time with tables.
///
/// Inlinable and public like `Backlog`.
///
/// `@unchecked Sendable`: only this table has what it points to.
@safe public struct Table<Key: Hashable & Sendable, Value>: ~Copyable, @unchecked Sendable
where Value: Sendable {
  /// Where each key's value is, from 1; the last one takes the place of one that is removed.
  @usableFromInline var places: [Key: Int] = [:]
  @usableFromInline var names: [Key] = []
  /// What readers see: values, and before them the nil of all other keys.
  @usableFromInline var slots: UnsafeMutablePointer<Value?>
  @usableFromInline var capacity = 8

  @inlinable public init() {
    unsafe slots = .allocate(capacity: capacity)
    unsafe slots.initialize(to: nil)
  }

  @inlinable deinit {
    unsafe slots.deinitialize(count: names.count + 1)
    unsafe slots.deallocate()
  }

  @inlinable public var count: Int { names.count }
  @inlinable public var keys: [Key] { names }

  /// A copy of all entries, to look for what is not known by its key.
  @inlinable public var entries: [(key: Key, value: Value)] { names.map { ($0, self[$0]!) } }

  @inlinable public subscript(key: Key) -> Value? {
    unsafeAddress { unsafe UnsafePointer(slots + (places[key] ?? 0)) }
    _modify {
      if let place = places[key] {
        defer { if unsafe slots[place] == nil { close(place) } }
        yield unsafe &slots[place]
      } else {
        var value: Value?
        defer { if let value { append(value, key) } }
        yield &value
      }
    }
  }

  @inlinable mutating func append(_ value: Value, _ key: Key) {
    let place = names.count + 1
    if place == capacity { grow() }
    unsafe (slots + place).initialize(to: value)
    names.append(key)
    places[key] = place
  }

  @inlinable mutating func grow() {
    let larger = UnsafeMutablePointer<Value?>.allocate(capacity: 2 * capacity)
    unsafe larger.moveInitialize(from: slots, count: capacity)
    unsafe slots.deallocate()
    unsafe slots = larger
    capacity *= 2
  }

  /// Takes away a place whose value has been taken.
  @inlinable mutating func close(_ place: Int) {
    places[names[place - 1]] = nil
    let (last, key) = (names.count, names.removeLast())
    let value = unsafe (slots + last).move()
    guard place < last else { return }
    unsafe slots[place] = value
    names[place - 1] = key
    places[key] = place
  }
}
