/// What a file must be to hold the cluster key.
public enum ClusterKeyFile {
  /// Why a file with this mode and owner is not for a node that runs as `user`; nil where it is.
  ///
  /// Whoever else could write it, or own it, would choose the key, and whoever could read it would
  /// be everybody in the cluster.
  public static func refusal(path: String, mode: UInt32, owner: UInt32, user: UInt32) -> String? {
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
