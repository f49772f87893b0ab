public import VProtocol
public import VTransport

/// What a kernel knows of another one, for those who look.
public struct PeerStatus: Equatable, Sendable {
  public var kernel: KernelID
  /// Where it is; nil while it is being looked for.
  public var locator: Locator?
  /// Since its last valid packet.
  public var age: TimeSpan
  /// How long its manager takes to answer; nil before the first sample.
  public var roundTrip: TimeSpan?
  /// It owes an answer and has not been heard of for too long.
  public var isSilent: Bool
}

extension Kernel {
  /// Every known kernel that was ever heard of, the most recently heard first.
  public func peerStatus(at now: Time) -> [PeerStatus] {
    peers.filter { $0.value.locator != nil }
      .map { kernel, peer in
        PeerStatus(
          kernel: kernel, locator: peer.locator, age: now - peer.heardAt,
          roundTrip: peer.roundTrip.smoothed, isSilent: peer.isSilent)
      }
      .sorted { ($0.age, $0.kernel.rawValue) < ($1.age, $1.kernel.rawValue) }
  }

  /// A server with a well-known discriminator: 2 to 15, each once.
  public mutating func makeServer(_ kind: ServerKind, discriminator: UInt32) -> EntityID {
    precondition(2..<16 ~= discriminator, "well-known discriminators are 2 to 15")
    let entity = EntityID(kernel: id, discriminator: discriminator)
    precondition(entities[entity] == nil, "a well-known server is made once")
    entities[entity] = Entity(
      user: "", lastTransaction: randomTransaction(), serverKind: kind)
    return entity
  }
}
