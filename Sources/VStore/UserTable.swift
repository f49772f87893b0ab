/// Users and groups of the host that serves: names on the wire, numbers on the disk.
///
/// Asked `atOnce`, a table says `wouldWait` for what it does not remember.
public protocol UserTable: Sendable {
  /// Nil where the host has no such user.
  func credentials(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> Credentials?
  func groupID(_ name: String, _ patience: Patience) throws(StoreFailure) -> UInt32?
  /// Nil where the number has no name.
  func userName(_ uid: UInt32, _ patience: Patience) throws(StoreFailure) -> String?
  func groupName(_ gid: UInt32, _ patience: Patience) throws(StoreFailure) -> String?
}
