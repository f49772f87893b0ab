import VProtocol
import VTransport

/// The keys of a node: one for all multicasts, and two for each kernel that it exchanges packets
/// with.
///
/// A key is derived once, for all threads, and only if its kernel has shown itself or was sent to:
/// packets of strangers cost no derivation, however many senders they invent. Kernels that were
/// only probed, and may be invented, take no room from the others.
struct KeyTable: Sendable {
  /// A key and its direction: a cipher has one of both.
  enum ID: Hashable, Sendable {
    case sendingMulticast, receivingMulticast
    case sending(KernelID)
    case receiving(KernelID)
  }

  private let secret: [UInt8]
  private let own: KernelID
  private var keys: [ID: DerivedKey] = [:]
  /// Kernels of which a packet was opened under the group key, or for which a packet was sealed:
  /// they may send under the key of the pair.
  private var expected: Set<KernelID> = []
  /// The last kernels that were probed and have not answered yet, each with the key for its answer.
  private var asked: [(kernel: KernelID, key: DerivedKey?)] = []
  private var budget = RateLimit(perSecond: derivationsMax)
  /// Keys derived since the start of the node.
  private(set) var derivations = 0

  /// A derivation takes some microseconds, and no node meets more than fifty new kernels a second.
  static let derivationsMax = 100
  /// Twice the kernels that a node knows at once; beyond it all must show themselves again.
  static let expectedMax = 8192
  /// A kernel answers in milliseconds, and few are probed in that time.
  static let askedMax = 64

  init(secret: [UInt8], own: KernelID) {
    self.secret = secret
    self.own = own
  }

  /// `kernel` has shown itself, or a packet is sealed for it.
  mutating func expect(_ kernel: KernelID) {
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
  mutating func ask(_ kernel: KernelID) {
    guard !expected.contains(kernel), !asked.contains(where: { $0.kernel == kernel })
    else { return }
    if asked.count >= Self.askedMax { asked.removeFirst() }
    asked.append((kernel, nil))
  }

  /// The key, derived now if need be.
  mutating func key(_ id: ID, at now: Time) throws(WireError) -> DerivedKey {
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
    let key = DerivedKey(secret, info(of: id))
    if let place { asked[place].key = key } else { keys[id] = key }
    return key
  }

  /// The input for the key of an ordered pair of kernels, or of all multicasts.
  private func info(of id: ID) -> [UInt8] {
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
