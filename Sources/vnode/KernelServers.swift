import VKernelServers
import VNode
import VProtocol
import VRuntime

/// The kernel servers of a node, each wired to what it looks at.
struct KernelServers {
  let tree: HostTree
  private let nodeServer: NodeServer
  private let timeServer: TimeServer

  /// `instances` tells what the other managers have open.
  init(
    _ node: Node, address: String, instances: @escaping @Sendable () -> String,
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
        machine: machineLines, instances: instances, trace: { node.traceText },
        keepTrace: { node.trace.keep($0) }))
  }
}
