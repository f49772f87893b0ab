/// A dictionary whose values are read and changed where they are.
///
/// `Dictionary` copies a whole value to read one field of it, and moves it out and in again to
/// change one. Entities, records and peers have several hundred octets and a dozen references each,
/// and a Send looks at them some twenty times: it takes a third less time with tables.
///
/// `@unchecked Sendable`: only this table has what it points to.
@safe
package struct Table<Key: Hashable & Sendable, Value: Sendable>: ~Copyable, @unchecked Sendable {
  /// Where each key's value is, from 1; the last one takes the place of one that is removed.
  private var places: [Key: Int] = [:]
  package private(set) var keys: [Key] = []
  /// What readers see: values, and before them the nil of all other keys.
  private var slots: UnsafeMutablePointer<Value?>
  private var capacity = 8

  package init() {
    unsafe slots = .allocate(capacity: capacity)
    unsafe slots.initialize(to: nil)
  }

  deinit {
    unsafe slots.deinitialize(count: keys.count + 1)
    unsafe slots.deallocate()
  }

  package var count: Int { keys.count }

  /// A copy of all entries; an entry that is to be found by what it has is looked for here.
  package var entries: [(key: Key, value: Value)] { keys.map { ($0, self[$0]!) } }

  package subscript(key: Key) -> Value? {
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

  package subscript(key: Key, default value: @autoclosure () -> Value) -> Value {
    get { self[key] ?? value() }
    _modify {
      if places[key] == nil { append(value(), key) }
      yield unsafe &slots[places[key]!]!
    }
  }

  package mutating func removeValue(forKey key: Key) -> Value? {
    guard let place = places[key] else { return nil }
    defer { close(place) }
    return unsafe slots[place].take()
  }

  private mutating func append(_ value: Value, _ key: Key) {
    let place = keys.count + 1
    if place == capacity { grow() }
    unsafe (slots + place).initialize(to: value)
    keys.append(key)
    places[key] = place
  }

  private mutating func grow() {
    let larger = UnsafeMutablePointer<Value?>.allocate(capacity: 2 * capacity)
    unsafe larger.moveInitialize(from: slots, count: capacity)
    unsafe slots.deallocate()
    unsafe slots = larger
    capacity *= 2
  }

  /// Takes away a place whose value has been taken.
  private mutating func close(_ place: Int) {
    places[keys[place - 1]] = nil
    let (last, key) = (keys.count, keys.removeLast())
    let value = unsafe (slots + last).move()
    guard place < last else { return }
    unsafe slots[place] = value
    keys[place - 1] = key
    places[key] = place
  }
}
