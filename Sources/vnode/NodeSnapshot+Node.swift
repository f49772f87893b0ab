import VAttach
import VKernelServers
import VNode

extension NodeSnapshot {
  /// How a node is now; each counter goes by the name that the kernel has for it.
  init(
    _ node: Node, isSealing: Bool, droppedPackets: [String: Int], attached: AttachServer?
  ) {
    self.init(
      isSealing: isSealing,
      counters: Mirror(reflecting: node.counters).children.map {
        (name: $0.label ?? "", count: $0.value as? Int ?? 0)
      },
      droppedPackets: droppedPackets,
      attached: attached.map { Attached(count: $0.processCount, closings: $0.endings) },
      peers: node.peers.map {
        Peer(
          kernel: $0.kernel, locator: "\($0.locator)", age: $0.age, roundTrip: $0.roundTrip,
          isSilent: $0.isSilent)
      })
  }
}
