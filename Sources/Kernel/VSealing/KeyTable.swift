package import VProtocol

/// The keys of a node: one for all multicasts, and two for each kernel that it exchanges packets
/// with.
///
/// A key is derived once, for all threads, and only if its kernel has shown itself or was sent to:
/// packets of strangers cost no derivation, however many senders they invent. Kernels that were
/// only probed, and may be invented, take no room from the others.
package struct KeyTable<Key: Sendable>: Sendable {
  /// The key of an input for HKDF under the cluster key.
  private let derive: @Sendable (_ info: [UInt8]) -> Key
  private let own: KernelID
  private var keys: [KeyID: Key] = [:]
  /// Kernels of which a packet was opened under the group key, or for which a packet was sealed:
  /// they may send under the key of the pair.
  private var expected: Set<KernelID> = []
  /// The last kernels that were probed and have not answered yet, each with the key for its answer.
  private var asked: [(kernel: KernelID, key: Key?)] = []
  private var budget = RateLimit(perSecond: Self.derivationsMax)
  /// Keys derived since the start of the node.
  package private(set) var derivations = 0

  /// A derivation takes some microseconds, and no node meets more than fifty new kernels a second.
  package static var derivationsMax: Int { 100 }
  /// Twice the kernels that a node knows at once; beyond it all must show themselves again.
  package static var expectedMax: Int { 8192 }
  /// A kernel answers in milliseconds, and few are probed in that time.
  package static var askedMax: Int { 64 }

  /// The table of the kernel `own`; `derive` is HKDF under the cluster key.
  package init(own: KernelID, derive: @escaping @Sendable (_ info: [UInt8]) -> Key) {
    self.own = own
    self.derive = derive
  }

  /// `kernel` has shown itself, or a packet is sealed for it.
  package mutating func expect(_ kernel: KernelID) {
    guard !expected.contains(kernel) else { return }
    if expected.count >= Self.expectedMax {
      expected.removeAll()
      keys.removeAll()
    }
    expected.insert(kernel)
    guard let index = asked.firstIndex(where: { $0.kernel == kernel }) else { return }
    keys[.receiving(kernel)] = asked.remove(at: index).key
  }

  /// `kernel` is probed under the group key and may answer under that of the pair.
  package mutating func ask(_ kernel: KernelID) {
    guard !expected.contains(kernel), !asked.contains(where: { $0.kernel == kernel })
    else { return }
    if asked.count >= Self.askedMax { asked.removeFirst() }
    asked.append((kernel, nil))
  }

  /// The key, derived now if need be.
  package mutating func key(_ id: KeyID, at now: Time) throws(WireError) -> Key {
    var place: Int?
    switch id {
    case .sending(let kernel): expect(kernel)
    case .receiving(let kernel) where !expected.contains(kernel):
      place = asked.firstIndex { $0.kernel == kernel }
      guard place != nil else { throw .unknownSender }
    case .receiving, .sendingMulticast, .receivingMulticast: break
    }
    if let known = place.map({ asked[$0].key }) ?? keys[id] { return known }
    guard budget.take(at: now) else { throw .tooManyKeys }
    derivations += 1
    let key = derive(info(of: id))
    if let place { asked[place].key = key } else { keys[id] = key }
    return key
  }

  /// The input for the key of an ordered pair of kernels, or of all multicasts.
  private func info(of id: KeyID) -> [UInt8] {
    var info = SegmentWriter()
    switch id {
    case .sendingMulticast, .receivingMulticast: return Array("v multicast".utf8)
    case .sending(let kernel):
      info.octets("v unicast".utf8)
      info.integer(own.rawValue)
      info.integer(kernel.rawValue)
    case .receiving(let kernel):
      info.octets("v unicast".utf8)
      info.integer(kernel.rawValue)
      info.integer(own.rawValue)
    }
    return info.bytes
  }
}

/// A key and its direction: a cipher has one of both.
package enum KeyID: Hashable, Sendable {
  case sendingMulticast, receivingMulticast
  case sending(KernelID)
  case receiving(KernelID)
}
