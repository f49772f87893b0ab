import VClient
import VDirectory
import VNode
import VObjects
import VProtocol
import VRuntime

/// The manager of `/v/.v`: the state of the mount and its node.
///
/// Lines of a word and its values; `uio` lists the open instances of the mount.
func ownFiles(
  _ node: Node, _ directory: Directory, _ names: NameCache, uio: @escaping @Sendable () -> String
) -> EntityID {
  TreeManager(
    node,
    TreeContext([
      ("version", .text(TreeText { [host = node.host] in versionText(host) })),
      ("naming", .text(TreeText { namingText(names, directory) })),
      ("uio", .text(TreeText(for: { $0.view(ofInstances: uio()) }))),
    ])
  ).server
}

/// Versions of the protocol and of these files.
private func versionText(_ host: String) -> String {
  """
  node \(host)
  protocol VMTP \(PacketHeader.version), domain 0x\(String(PacketHeader.clusterDomain, radix: 16))
  files 1

  """
}

/// The prefix cache: how many lookups of the mount found what they needed in it, how many questions
/// to all hosts they cost, and every known prefix with its manager; and how full the directory's
/// table is.
private func namingText(_ names: NameCache, _ directory: Directory) -> String {
  let counters = names.counters
  var text = """
    hits \(counters.hits)
    near_misses \(counters.nearMisses)
    misses \(counters.misses)
    multicasts \(counters.multicasts + directory.questions)

    """
  let claims = directory.claimCounts
  text += "claims \(claims.known) of \(claims.most)\n"
  for left in directory.leftOut { text += "left_out \(left.prefix) \(left.why)\n" }
  for prefix in names.prefixes {
    text += "prefix \(String(decoding: prefix.name, as: UTF8.self)) \(prefix.manager)\n"
  }
  return text
}
