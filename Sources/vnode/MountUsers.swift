import VFileServer
import VLinuxStore
import VMount
import VStore

/// The user table of this host as the mount asks it, on threads that may wait.
struct MountUsers: UserNames {
  let table: LinuxUsers

  func userName(_ id: UInt32) -> String? { try? table.userName(id, .mayWait) }
  func groupName(_ id: UInt32) -> String? { try? table.groupName(id, .mayWait) }
  func userID(_ name: String) -> UInt32? {
    (try? table.credentials(ofUser: name, .mayWait))?.uid
  }
  func groupID(_ name: String) -> UInt32? { try? table.groupID(name, .mayWait) }
}
