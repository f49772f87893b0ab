public import VKernel
public import VProtocol
import VRecording
public import VRuntime
public import VTransport

/// The state of a node, for those that report it.
extension Node {
  /// The kernels that were heard, the most recently heard first.
  public var peers: [PeerStatus] {
    state.withLock { $0.kernel.peerStatus(at: machine.now) }
  }

  /// The entities of this node, or one of them.
  public func entities(_ one: EntityID? = nil) -> [EntityStatus] {
    state.withLock { $0.kernel.entityStatus(of: one) }
  }

  /// The clients of other kernels that were served lately.
  public var clients: [ClientStatus] { state.withLock { $0.kernel.clientStatus() } }

  /// Whether packets are sealed: the node has the cluster key.
  public var isSealing: Bool { sealer != nil }

  /// Keys derived since the start of the node.
  public var keyDerivations: Int { sealer?.derivations ?? 0 }

  /// The kernel that has this host's name instead of this one; nil as long as this one has it.
  public var nameHolder: NameHolder? { state.withLock { $0.kernel.nameHolder } }

  /// Calls `body` whenever another kernel has this host's name, or none any more; the last of
  /// several watches holds.
  public func watchName(_ body: @escaping @Sendable (NameHolder?) -> Void) {
    state.withLock { $0.nameWatch = body }
  }

  /// A server under a well-known discriminator; one that knows no principals must have only
  /// operations that may be repeated.
  public func makeServer(
    discriminator: UInt32?, knowsPrincipals: Bool, _ procedure: @escaping Procedure
  ) -> EntityID {
    state.withLock { state in
      let server = state.kernel.makeServer(
        knowsPrincipals ? .atMostOnce : .idempotent, discriminator: discriminator)
      state.note(
        .init(.server, server, knowsPrincipals, discriminator ?? 0), at: machine.now)
      state.procedures[server] = procedure
      return server
    }
  }

  /// How many entries the tables of the kernel and of the node have.
  package var tableCounts: [(table: String, count: Int)] {
    state.withLock { state in
      state.kernel.tableCounts + [
        ("completions", state.completions.count), ("procedures", state.procedures.count),
        ("descriptors", state.passed.count),
      ]
    }
  }
}
