import VKernelServers
import VNode
import VProtocol
import VRecording
import VRuntime

/// The kernel servers of a node, each connected to its data.
struct KernelServers {
  let tree: HostTree
  private let nodeServer: NodeServer
  private let timeServer: TimeServer

  /// `managers` gives the managers of this host, and `names` what people call its processes.
  init(
    _ node: Node, addresses: @autoclosure @escaping @Sendable () -> [String],
    managers: @escaping @Sendable () -> Set<EntityID>,
    names: @escaping @Sendable () -> [EntityID: String],
    snapshot: @escaping @Sendable () -> NodeSnapshot
  ) {
    nodeServer = NodeServer(
      node, kernel: node.id, addresses: addresses(),
      register: {
        node.makeServer(
          discriminator: EntityID.nodeServerDiscriminator, knowsPrincipals: false, $0)
      },
      snapshot: snapshot)
    timeServer = TimeServer(node)
    tree = HostTree(
      node, nodeServer,
      ProcessServer(
        node, states: { node.entities($0) }, clients: { node.clients }, names: names),
      HostTree.Sources(
        machine: machineLines, managers: managers, trace: { node.traceText },
        keepTrace: { node.trace.keep($0) }))
  }
}
