public import VProtocol
import VTransport

/// The status of another kernel, for people: how long ago its last valid packet came, how long its
/// manager takes to answer (nil before the first sample), whether it owes an answer and is silent,
/// whether it is heard nevertheless, and the name of its host, if known.
///
/// A tuple, so that its readers need not import the kernel.
public typealias PeerStatus = (
  kernel: KernelID, locator: Locator, age: TimeSpan, roundTrip: TimeSpan?, isSilent: Bool,
  isDeaf: Bool, host: String?
)

/// The status of a local entity, for people: its user (none for a server), whether it serves, the
/// entity that its transaction waits for (`none` without one), and its groups.
public typealias EntityStatus = (
  entity: EntityID, user: String, isServer: Bool, awaits: EntityID, groups: [EntityID]
)

/// A client of another kernel whose last request is still recorded here: its principal, if known,
/// and the server that works on the request, `none` once it is answered.
public typealias ClientStatus = (client: EntityID, principal: Principal?, server: EntityID)

extension Kernel {
  /// All clients of other kernels, by their identifiers.
  public func clientStatus() -> [ClientStatus] {
    records.entries.map { key, record in
      (record.client, record.principal, record.isProcessing ? holder(of: record, key) : .none)
    }
    .sorted { ($0.client.rawValue, $0.server.rawValue) < ($1.client.rawValue, $1.server.rawValue) }
  }

  /// All local entities in the order in which they were made, or one of them.
  public func entityStatus(of one: EntityID?) -> [EntityStatus] {
    let found = one.map { [$0] } ?? entities.keys
    return found.compactMap { entity in
      guard let known = entities[entity] else { return nil }
      return (
        entity, known.user, known.serverKind != nil, known.current?.holder ?? .none,
        known.groups
      )
    }
    .sorted { $0.entity.discriminator < $1.entity.discriminator }
  }

  /// Every known kernel that was heard at least once, the most recently heard first.
  public func peerStatus(at now: Time) -> [PeerStatus] {
    peers.entries.compactMap { kernel, peer in
      peer.locator.map {
        (
          kernel, $0, now - peer.heardAt, peer.roundTrip.smoothed, peer.isSilent,
          peer.isDeaf(at: now), peer.host
        )
      }
    }
    .sorted { ($0.age, $0.kernel.rawValue) < ($1.age, $1.kernel.rawValue) }
  }

  /// How many entries each table has.
  package var tableCounts: [(table: String, count: Int)] {
    [
      ("entities", entities.count), ("groups", groups.count), ("records", records.count),
      ("transactions", entities.keys.count { entities[$0]?.current != nil }),
      ("waiting", waiting.values.reduce(0) { $0 + $1.entries.count }),
      ("working", working.values.reduce(0) { $0 + $1.entries.count }),
      ("peers", peers.count), ("places", places.count), ("dead boots", dead.count),
      ("probes", probes.count), ("timers", timers.count),
    ]
  }
}

/// The kernel's counters; plain integers inside the locked value.
public struct Counters: Equatable, Sendable {
  public var requestsSent = 0
  public var responsesSent = 0
  public var retransmissions = 0
  public var duplicates = 0
  public var probesSent = 0
  public var notifiesSent = 0
  public var multicastsSent = 0
  public var packetsIgnored = 0
  public var silentPeers = 0
  /// Requests that were dropped because their kernel was not believed about the client: it claimed
  /// this host's name, or another name than before.
  public var principalsRefused = 0

  public init() {}
}
