/// The conditions for a file with the cluster key.
package enum ClusterKeyFile {
  /// The reason why a file with this mode and owner is not allowed for a node that runs as `user`;
  /// nil if it is.
  ///
  /// Another owner or writer could choose the key, and another reader could act as everybody in the
  /// cluster.
  package static func refusal(path: String, mode: UInt32, owner: UInt32, user: UInt32) -> String? {
    guard owner == 0 || owner == user else {
      return "belongs to user number \(owner); allowed is root, or the user who runs the node: "
        + "chown root \(path)"
    }
    guard mode & 0o077 == 0 else {
      return "mode \(String(mode & 0o7777, radix: 8)) lets others use it; allowed is 600: "
        + "chmod 600 \(path)"
    }
    return nil
  }
}
