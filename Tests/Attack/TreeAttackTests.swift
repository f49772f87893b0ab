import Fixtures
import Testing
import VDirectory
import VProtocol
import VRuntime

/// Every operation on a name, in each tree that is not a disk: first by everybody without the
/// right, then, with the same octets, by the owner.
@Suite("Attacks on the names of servers")
struct TreeAttackTests {
  /// An object, and the operations on its name.
  struct Object: Sendable {
    /// `PROGRAM` is the owner's program.
    var path: String
    var owner: Who
    var mode: OpenMode
    /// Operations that need no right on the object, in a directory that is open to all.
    var isPublic: Set<UInt32>
    /// Other operations that succeed for the owner.
    var works: Set<UInt32>
    /// Other principals with the owner's rights.
    var heirs: [Who] = Who.heirs
  }

  private static let looks: Set = [QueryObject.code, QueryStore.code]
  private static let objects = [
    Object(
      path: "pipe/kea/private", owner: .owner, mode: .read, isPublic: looks,
      works: [
        ModifyObject.code, RemoveName.code, CheckAccess.code,
        CreateInstance.code,
      ]),
    Object(
      path: "team/kea/PROGRAM/mem", owner: .owner, mode: .read, isPublic: looks,
      works: [CheckAccess.code, CreateInstance.code]),
    Object(
      path: "team/kea/PROGRAM/in", owner: .owner, mode: .write, isPublic: looks,
      works: [CreateInstance.code]),
    Object(
      path: "group/own/members/ann", owner: .owner, mode: .read, isPublic: [],
      works: looks.union([CheckAccess.code, CreateInstance.code, RemoveName.code])),
    Object(
      path: "group/own/status", owner: .owner, mode: .read, isPublic: [],
      works: looks.union([CheckAccess.code, CreateInstance.code])),
    Object(
      path: "host/kea/net/trace", owner: .root, mode: .write,
      isPublic: looks.union([CheckAccess.code]),
      works: [CreateInstance.code], heirs: []),
    Object(
      path: "team/kea/ctl", owner: .root, mode: .write, isPublic: looks.union([CheckAccess.code]),
      works: [CreateInstance.code], heirs: []),
  ]

  @Test(
    "are refused, with the octets that work for the object's owner",
    arguments: OperationTable.entries.filter { $0.access == .name }.map(\.code))
  func names(code: UInt32) throws {
    let operation = try #require(OperationTable.entry(code)).name
    for object in Self.objects {
      let host = try AttackedHost()
      let path = host.path(object.path)
      if path.hasPrefix("pipe") { _ = try host.open(path, [.read, .write, .create]) }
      let request = try Self.request(code, path, object, host)
      let who = Who.allCases.filter { $0 != object.owner && !object.heirs.contains($0) }
      let refusals = who.map { ($0, host.send(request, host.directory.server, as: $0).code) }
      let answer = host.send(request, host.directory.server, as: object.owner).code
      let works = object.works.contains(code) || object.isPublic.contains(code)
      #expect((answer == .ok) == works, "\(operation) of \(path) by its owner: \(answer)")
      for (who, refusal) in refusals {
        let isRefused = [.noPermission, .notOwner].contains(refusal)
        // An operation that nobody may do is refused for everybody, or not checked.
        let isAsOwner = refusal == answer && (answer != .ok || object.isPublic.contains(code))
        #expect(
          isAsOwner || isRefused && !object.isPublic.contains(code),
          "\(operation) of \(path) by \(who): \(refusal), by its owner \(answer)")
      }
    }
  }

  private static func request(
    _ code: UInt32, _ path: String, _ object: Object, _ host: AttackedHost
  ) throws -> Message {
    var targets = RequestTargets()
    targets.name = host.name(path)
    targets.newName = host.name(path + ".new")
    targets.mode = object.mode
    let described = host.send(
      QueryObject(host.name(path)).message, host.directory.server, as: object.owner)
    targets.object = try Descriptor(parsing: described.message).context
    return try #require(targets.message(code))
  }
}
