import VKernelServers
import VNode
import VProtocol
import VRuntime

/// The kernel servers of a node, each connected to its data.
struct KernelServers {
  let tree: HostTree
  private let nodeServer: NodeServer
  private let timeServer: TimeServer

  /// `managers` returns the managers of this host.
  init(
    _ node: Node, address: String, managers: @escaping @Sendable () -> Set<EntityID>,
    snapshot: @escaping @Sendable () -> NodeSnapshot
  ) {
    nodeServer = NodeServer(
      node, kernel: node.id, address: address,
      register: {
        node.makeServer(
          discriminator: EntityID.nodeServerDiscriminator, knowsPrincipals: false, $0)
      },
      snapshot: snapshot)
    timeServer = TimeServer(node)
    tree = HostTree(
      node, nodeServer,
      ProcessServer(node, states: { node.entities($0) }, clients: { node.clients }),
      HostTree.Sources(
        machine: machineLines, managers: managers, trace: { node.traceText },
        keepTrace: { node.trace.keep($0) }))
  }
}
