extension JSON {
  /// What an encodable value is in JSON.
  ///
  /// A member that is nil, and a number that is not finite, is `null`: every object of a kind has
  /// the same members.
  package init(_ value: some Encodable) {
    let encoding = JSONEncoding()
    do {
      try value.encode(to: encoding)
    } catch {
      // Only a value's own `encode` throws, and those of replies do not.
      preconditionFailure("\(type(of: value)) cannot be encoded: \(error)")
    }
    self = encoding.result
  }
}

/// An encoder of one value, which is a tree in the end.
private final class JSONEncoding: Encoder {
  /// What was encoded so far: an array and an object grow.
  fileprivate enum Growth {
    case nothing
    case value(JSON)
    case array([JSONEncoding])
    case object([(name: String, value: JSONEncoding)])
  }

  fileprivate var growth = Growth.nothing
  var codingPath: [any CodingKey] { [] }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  var result: JSON {
    switch growth {
    case .nothing: .object([])
    case .value(let value): value
    case .array(let values): .array(values.map(\.result))
    case .object(let members): .object(members.map { ($0.name, $0.value.result) })
    }
  }

  fileprivate func add(_ name: String) -> JSONEncoding {
    let member = JSONEncoding()
    var members: [(name: String, value: JSONEncoding)] = []
    if case .object(let known) = growth { members = known }
    // Held once: else each member would copy all before it.
    growth = .nothing
    members.append((name, member))
    growth = .object(members)
    return member
  }

  fileprivate func addElement() -> JSONEncoding {
    let element = JSONEncoding()
    var elements: [JSONEncoding] = []
    if case .array(let known) = growth { elements = known }
    growth = .nothing
    elements.append(element)
    growth = .array(elements)
    return element
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    if case .nothing = growth { growth = .object([]) }
    return KeyedEncodingContainer(Members<Key>(encoding: self))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    growth = .array([])
    return Elements(encoding: self)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer { Single(encoding: self) }
}

/// The members of an object.
private struct Members<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let encoding: JSONEncoding
  var codingPath: [any CodingKey] { [] }

  func encodeNil(forKey key: Key) { encoding.add(key.stringValue).growth = .value(.null) }

  func encode(_ value: some Encodable, forKey key: Key) throws {
    try Single(encoding: encoding.add(key.stringValue)).encode(value)
  }

  func encodeIfPresent(_ value: (some Encodable)?, forKey key: Key) throws {
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }

  func encodeIfPresent(_ value: Bool?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: String?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: Double?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: Int?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: UInt64?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: UInt32?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: UInt16?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: Int64?, forKey key: Key) throws { try encodeAny(value, key) }
  func encodeIfPresent(_ value: Int32?, forKey key: Key) throws { try encodeAny(value, key) }

  private func encodeAny(_ value: (some Encodable)?, _ key: Key) throws {
    if let value { try encode(value, forKey: key) } else { encodeNil(forKey: key) }
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) -> KeyedEncodingContainer<Nested> {
    encoding.add(key.stringValue).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    encoding.add(key.stringValue).unkeyedContainer()
  }

  func superEncoder() -> any Encoder { encoding.add("super") }
  func superEncoder(forKey key: Key) -> any Encoder { encoding.add(key.stringValue) }
}

/// The elements of an array.
private struct Elements: UnkeyedEncodingContainer {
  let encoding: JSONEncoding
  var codingPath: [any CodingKey] { [] }
  private(set) var count = 0

  init(encoding: JSONEncoding) { self.encoding = encoding }

  private mutating func add() -> JSONEncoding {
    count += 1
    return encoding.addElement()
  }

  mutating func encodeNil() { add().growth = .value(.null) }
  mutating func encode(_ value: some Encodable) throws { try Single(encoding: add()).encode(value) }

  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type
  ) -> KeyedEncodingContainer<Nested> {
    add().container(keyedBy: type)
  }

  mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
    add().unkeyedContainer()
  }

  mutating func superEncoder() -> any Encoder { add() }
}

/// A value that is neither.
private struct Single: SingleValueEncodingContainer {
  let encoding: JSONEncoding
  var codingPath: [any CodingKey] { [] }

  private func put(_ value: JSON) { encoding.growth = .value(value) }

  func encodeNil() { put(.null) }
  func encode(_ value: Bool) { put(.bool(value)) }
  func encode(_ value: String) { put(.string(value)) }
  func encode(_ value: Double) { put(value.isFinite ? .number("\(value)") : .null) }
  func encode(_ value: Float) { encode(Double(value)) }
  func encode(_ value: Int) { put(.number("\(value)")) }
  func encode(_ value: Int8) { put(.number("\(value)")) }
  func encode(_ value: Int16) { put(.number("\(value)")) }
  func encode(_ value: Int32) { put(.number("\(value)")) }
  func encode(_ value: Int64) { put(.number("\(value)")) }
  func encode(_ value: UInt) { put(.number("\(value)")) }
  func encode(_ value: UInt8) { put(.number("\(value)")) }
  func encode(_ value: UInt16) { put(.number("\(value)")) }
  func encode(_ value: UInt32) { put(.number("\(value)")) }
  func encode(_ value: UInt64) { put(.number("\(value)")) }
  func encode(_ value: some Encodable) throws { try value.encode(to: encoding) }
}
