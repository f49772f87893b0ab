import CVLinux
import Glibc
import VProtocol
package import VStore

/// The source of a table of users; a call may take any time.
package protocol UserSource: Sendable {
  /// Absent only if there is no such user or group; a failure if that could not be found out.
  func find(_ question: UserQuestion) throws(StoreFailure) -> UserAnswer
}

/// The users of this host, as the name service switch gives them.
struct NameService: UserSource {
  func find(_ question: UserQuestion) throws(StoreFailure) -> UserAnswer {
    switch question {
    // C would read only the part before the zero octet.
    case .user(let name) where name.utf8.contains(0): return .user(nil)
    case .group(let name) where name.utf8.contains(0): return .group(nil)
    case .user(let name): return .user(try account(name))
    case .group(let name):
      var gid: UInt32 = 0
      return .group(try Self.isFound(unsafe v_group_by_name(name, &gid)) ? gid : nil)
    case .userName(let uid): return .name(try name(of: uid, isGroup: false))
    case .groupName(let gid): return .name(try name(of: gid, isGroup: true))
    }
  }

  private func account(_ name: String) throws(StoreFailure) -> UserAccount? {
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    var groups = [UInt32](repeating: 0, count: Self.groupsMax)
    var count = Int32(Self.groupsMax)
    var home = [CChar](repeating: 0, count: Self.pathBytesMax)
    var shell = home
    let result = unsafe v_user_account(
      name, &uid, &gid, &groups, &count, &home, &shell, Self.pathBytesMax)
    guard try Self.isFound(result) else { return nil }
    return UserAccount(
      Credentials(uid: uid, gid: gid, groups: Array(groups[..<Int(count)])),
      home: Self.octets(home[...]), shell: Self.octets(shell[...]))
  }

  private func name(of id: UInt32, isGroup: Bool) throws(StoreFailure) -> String? {
    var octets = [CChar](repeating: 0, count: Descriptor.nameBytesMax + 1)
    let count = unsafe v_name_of_id(id, isGroup ? 1 : 0, &octets, octets.count)
    guard try Self.isFound(count) else { return nil }
    return String(validating: Self.octets(octets[..<Int(count)]), as: UTF8.self)
  }

  private static func isFound(_ result: Int32) throws(StoreFailure) -> Bool {
    guard result < 0 else { return result > 0 }
    let isFull = [EMFILE, ENFILE, ENOMEM].contains(-result)
    throw .refused(isFull ? .noServerResources : .deviceError)
  }

  private static func octets(_ text: ArraySlice<CChar>) -> [UInt8] {
    text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
  }

  /// Rights through further groups are not given; more than any user here has.
  private static let groupsMax = 256
  /// Linux's PATH_MAX.
  private static let pathBytesMax = 4096
}
