import Foundation
import Synchronization
import VFileServer
import VLinuxStore
import VProtocol
import VRuntime
import VStore

/// Users of the tests: ann and bob share the group `staff`.
struct TestUsers: UserTable {
  static let ids: [String: UInt32] = ["root": 0, "ann": 2001, "bob": 2002, "staff": 3000]

  func credentials(ofUser name: String, _ patience: Patience) -> Credentials? {
    guard name != "staff" else { return nil }
    return Self.ids[name].map {
      Credentials(uid: $0, gid: $0, groups: $0 == 0 ? [] : [3000])
    }
  }
  func groupID(_ name: String, _ patience: Patience) -> UInt32? { Self.ids[name] }
  func userName(_ uid: UInt32, _ patience: Patience) -> String? {
    Self.ids.first { $0.value == uid }?.key
  }
  func groupName(_ gid: UInt32, _ patience: Patience) -> String? { userName(gid, patience) }
}

/// A file server on a fresh directory of the real disk, with one client.
final class Served {
  let backplane = TestBackplane()
  /// The directory of `export`, which is served, and of other files of a test.
  let outside: String
  let server: FileServer
  let manager: EntityID
  let root: ContextID
  var path: String { outside + "/export" }

  static let isRoot = getuid() == 0
  /// Root of the serving host, if the tests run as root; else the user that runs them.
  static let local = Principal(user: isRoot ? "root" : "self", host: "kea")

  init(
    isReadOnly: Bool = false, allowedHosts: [String]? = nil, rootHosts: [String] = [],
    numberHosts: [String] = [], users: any UserTable = TestUsers(),
    limits: FileLimits = FileLimits(descriptors: 20_000)
  ) throws {
    outside = NSTemporaryDirectory() + "v-files-\(UInt64.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(
      atPath: outside + "/export", withIntermediateDirectories: true)
    chmod(outside + "/export", 0o777)
    let export = Export(
      prefix: Array("storage/kea".utf8), path: outside + "/export", isReadOnly: isReadOnly,
      allowedHosts: allowedHosts, rootHosts: rootHosts, numberHosts: numberHosts)
    server = try FileServer(
      backplane, store: try LinuxStore(), users: SelfOr(users), exports: [export], limits: limits)
    let answer = try backplane.exchange(
      QueryName(ContextName(.none, Array("storage/kea".utf8))), to: .nameHandlingGroup, as: nil)
    manager = answer.manager
    root = answer.context
  }

  deinit {
    chmod(path, 0o777)
    try? FileManager.default.removeItem(atPath: outside)
  }

  func ask<Op: VProtocol.Operation>(
    _ operation: Op, as who: Principal? = local, isLocal: Bool? = nil
  ) throws -> Op.Answer {
    try backplane.exchange(operation, to: manager, as: who, isLocal: isLocal)
  }

  /// The code of an operation's answer.
  func code(
    _ operation: some VProtocol.Operation, as who: Principal? = local, isLocal: Bool? = nil
  ) -> ReplyCode {
    backplane.exchange(operation.message, to: manager, as: who, isLocal: isLocal)?.reply
      ?? .userTimeout
  }

  /// Descriptors of this process that are open on a file.
  func descriptorCount(of file: String) -> Int {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return all.count { number in
      (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(number)"))
        == "\(path)/\(file)"
    }
  }

  /// A name below the export's root or another context.
  func name(_ text: String, in context: ContextID? = nil) -> ContextName {
    ContextName(context ?? root, Array(text.utf8))
  }

  func open(
    _ text: String, _ mode: OpenMode, permissions: UInt32 = 0o644, as who: Principal? = local
  ) throws -> InstanceID {
    try ask(CreateInstance(name(text), mode: mode, permissions: permissions), as: who).instance
  }

  func read(_ instance: InstanceID, at position: UInt64 = 0, count: Int = 16_384) throws -> String {
    let data = try ask(ReadInstance(instance, position: position, count: count)).data
    return String(decoding: data, as: UTF8.self)
  }

  @discardableResult
  func write(
    _ text: String, to instance: InstanceID, at position: UInt64 = 0, as who: Principal? = local,
    dropsPrivileges: Bool = false
  ) throws -> WriteInstance.Answer {
    var operation = WriteInstance(instance, position: position, data: Array(text.utf8))
    operation.dropsPrivileges = dropsPrivileges
    return try ask(operation, as: who)
  }

  /// Puts a file on the disk, without the server.
  func put(_ text: String, at file: String) throws {
    try text.write(toFile: "\(path)/\(file)", atomically: false, encoding: .utf8)
  }

  /// Every descriptor of a directory, read `count` octets at a time.
  func list(_ text: String, count: Int = 16_384) throws -> [Descriptor] {
    let instance = try open(text, .directory)
    var found: [Descriptor] = []
    var position: UInt64 = 0
    while true {
      let data = try ask(ReadInstance(instance, position: position, count: count)).data
      if data.isEmpty { break }
      var reader = SegmentReader(data)
      while reader.remaining > 0 { found.append(try Descriptor(parsing: &reader)) }
      position = found.last?.nextPosition ?? 0
    }
    _ = try ask(ReleaseInstance(instance))
    return found
  }
}

/// A table in which `self` is the user that runs the tests.
private struct SelfOr: UserTable {
  let table: any UserTable
  init(_ table: any UserTable) { self.table = table }

  func credentials(
    ofUser name: String, _ patience: Patience
  ) throws(StoreFailure) -> Credentials? {
    if name == "self" { return Credentials(uid: getuid(), gid: getgid()) }
    return try table.credentials(ofUser: name, patience)
  }
  func groupID(_ name: String, _ patience: Patience) throws(StoreFailure) -> UInt32? {
    try table.groupID(name, patience)
  }
  func userName(_ uid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    try table.userName(uid, patience)
  }
  func groupName(_ gid: UInt32, _ patience: Patience) throws(StoreFailure) -> String? {
    try table.groupName(gid, patience)
  }
}
