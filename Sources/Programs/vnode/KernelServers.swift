import VKernelServers
import VNode
import VProtocol
import VRuntime

/// The kernel servers of a node, each wired to what it looks at.
struct KernelServers {
  let tree: HostTree
  private let nodeServer: NodeServer
  private let timeServer: TimeServer

  /// `managers` tells which managers this host has.
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
