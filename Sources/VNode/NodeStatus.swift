public import VKernel
import VProtocol
import VRuntime

/// What a node lets those see who ask how it is.
extension Node {
  /// The kernels that this one has heard of, the most recently heard first.
  public var peers: [PeerStatus] {
    state.withLock { $0.kernel.peerStatus(at: machine.now) }
  }

  /// Nothing leaves this node in clear.
  public var isSealing: Bool { sealer != nil }

  /// Packets that were not V, counted by kind; none where the machine does not count.
  var droppedPackets: [String: Int] { (machine as? LinuxMachine)?.droppedPackets ?? [:] }

  /// A server under a well-known discriminator, for operations that may all be repeated.
  func makeServer(discriminator: UInt32, _ procedure: @escaping Procedure) -> EntityID {
    state.withLock { state in
      let server = state.kernel.makeServer(.idempotent, discriminator: discriminator)
      state.procedures[server] = procedure
      return server
    }
  }
}
