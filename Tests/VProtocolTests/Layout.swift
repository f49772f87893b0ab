import VProtocol

/// How octets become the properties of a value and back: the codec's side of the comparison with a
/// page's table.
struct Codec {
  let samples: [Message]
  /// The value, or nil if the message is refused.
  let parse: (Message) -> Any?
  let emit: (Any) -> Message

  init<Value: Operation>(of type: Value.Type, _ samples: [any Operation]) {
    self.samples = samples.compactMap { ($0 as? Value)?.message }
    parse = { try? Value(parsing: $0) }
    emit = { ($0 as! Value).message }
  }

  init<Value: OperationAnswer>(of type: Value.Type, _ samples: [any OperationAnswer]) {
    self.samples = samples.compactMap { ($0 as? Value)?.message }
    parse = { try? Value(parsing: $0) }
    emit = { ($0 as! Value).message }
  }

  init(samples: [Message], parse: @escaping (Message) -> Any?, emit: @escaping (Any) -> Message) {
    self.samples = samples
    self.parse = parse
    self.emit = emit
  }
}

/// Which property of a value is where in its message, found by changing the message.
struct Layout {
  struct Half: Hashable, CustomStringConvertible {
    let word: Int
    let isHigh: Bool
    var description: String { "\(word) \(isHigh ? "high" : "low")" }
  }

  /// The properties that depend on a half word, or that it depends on.
  private(set) var halves: [Half: Set<String>] = [:]
  private(set) var segment: Set<String> = []

  init(of codec: Codec) {
    for message in codec.samples {
      guard let value = codec.parse(message) else { continue }
      for changed in Self.wordChanges(of: message) {
        note(value, message, changed.message, codec, read: changed.half)
      }
      for changed in Self.segmentChanges(of: message) {
        guard let other = codec.parse(changed) else { continue }
        segment.formUnion(Self.differences(value, other))
      }
    }
  }

  func properties(of half: Half) -> Set<String> { halves[half] ?? [] }

  private mutating func note(
    _ value: Any, _ message: Message, _ changed: Message, _ codec: Codec, read half: Half
  ) {
    guard let other = codec.parse(changed) else { return }
    let properties = Self.differences(value, other)
    guard !properties.isEmpty else { return }
    halves[half, default: []].formUnion(properties)
    // Written and not read: a process is in words 1 and 2 as well.
    let emitted = codec.emit(other)
    for word in 1...7 {
      let isSize = word == 7 && !(message.segment.isEmpty && emitted.segment.isEmpty)
      let bits = isSize ? 0 : codec.emit(value).mcb[word] ^ emitted.mcb[word]
      if bits >> 16 != 0 {
        halves[Half(word: word, isHigh: true), default: []].formUnion(properties)
      }
      if bits & 0xFFFF != 0 {
        halves[Half(word: word, isHigh: false), default: []].formUnion(properties)
      }
    }
  }

  /// Each bit flipped, and small numbers in place of the value.
  private static func wordChanges(of message: Message) -> [(message: Message, half: Half)] {
    var changes: [(Message, Half)] = []
    for word in 1...7 where word < 7 || message.segment.isEmpty {
      for isHigh in [true, false] {
        let shift: UInt32 = isHigh ? 16 : 0
        let rest = message.mcb[word] & ~(0xFFFF << shift)
        let values = (0..<16).map { (message.mcb[word] >> shift & 0xFFFF) ^ 1 << $0 } + (0...20)
        for value in values {
          var changed = message
          changed.mcb[word] = rest | (value & 0xFFFF) << shift
          changes.append((changed, Half(word: word, isHigh: isHigh)))
        }
      }
    }
    return changes
  }

  /// Each octet changed, one left out, one added; but a message without a segment keeps word 7.
  private static func segmentChanges(of message: Message) -> [Message] {
    guard !message.segment.isEmpty else { return [] }
    var segments = [message.segment + [0x61], message.segment.dropLast()]
    for index in message.segment.indices {
      for bits: UInt8 in [1, 2, 4] {
        var changed = message.segment
        changed[index] ^= bits
        segments.append(changed)
      }
    }
    return segments.map { Message(message.mcb, segment: $0) }
  }

  /// The properties in which two values of a type differ.
  static func differences(_ first: Any, _ second: Any) -> Set<String> {
    // A record that is the whole answer is one property.
    if let first = first as? Descriptor {
      return isEqual(first, second) ? [] : ["descriptor"]
    }
    var labels: Set<String> = []
    for (one, other) in zip(Mirror(reflecting: first).children, Mirror(reflecting: second).children)
    {
      guard let value = one.value as? any Equatable else {
        preconditionFailure("\(one.label ?? "") is not Equatable")
      }
      if !isEqual(value, other.value) { labels.insert(one.label ?? "") }
    }
    return labels
  }

  private static func isEqual<Value: Equatable>(_ first: Value, _ second: Any) -> Bool {
    first == second as? Value
  }
}
