import Testing
import VDirectory
import VProtocol
import VRuntime

/// Every operation on a name, on objects that are their owner's alone.
@Suite("Attacks on names")
struct NameAttackTests {
  static let operations = OperationTable.entries.filter { $0.access == .name }

  /// Trees with a directory of mode 700 that is ann's.
  private static let directories = ["storage/kea/own", "ram/kea/own"]

  /// A request for the object `own/NAME`, and what must be there before.
  private static func request(
    _ code: UInt32, _ host: AttackedHost, _ directory: String, _ object: String
  ) throws -> Message {
    let name = host.name("\(directory)/\(object)")
    var readable = Modification()
    readable.permissions = 0o777
    switch code {
    case ModifyObject.code: return ModifyObject(name, readable).message
    case AddName.code:
      return AddName(host.name("\(directory)/new"), kind: .context, permissions: 0o755).message
    case LinkName.code:
      let described = host.send(QueryObject(name).message, host.directory.server)
      let context = try Descriptor(parsing: described.message).context
      return LinkName(host.name("\(directory)/new"), object: context).message
    case RemoveName.code: return RemoveName(name, isContext: false).message
    case RenameObject.code:
      let described = host.send(
        QueryObject(host.name(directory)).message, host.directory.server)
      let context = try Descriptor(parsing: described.message).context
      return RenameObject(name, to: context, Array("new".utf8), mode: .replace).message
    case CheckAccess.code: return CheckAccess(name, mask: 4).message
    case CreateInstance.code: return CreateInstance(name, mode: .read).message
    case QueryAttribute.code:
      return QueryAttribute(name, attribute: Array("user.a".utf8)).message
    case ChangeAttribute.code:
      return ChangeAttribute(name, attribute: Array("user.a".utf8), .set([1])).message
    default:
      // Nothing but the name.
      var message = QueryObject(name).message
      message.mcb.code = code
      return message
    }
  }

  /// Makes the objects anew that a request needs and a successful one may have taken; an object
  /// whose context the request holds stays.
  private static func furnish(
    _ host: AttackedHost, _ directory: String, _ object: String, isAnew: Bool = true
  ) throws {
    _ = host.send(
      RemoveName(host.name("\(directory)/new"), isContext: false).message, host.directory.server)
    _ = host.send(
      RemoveName(host.name("\(directory)/new"), isContext: true).message, host.directory.server)
    guard isAnew else { return }
    _ = host.send(
      RemoveName(host.name("\(directory)/\(object)"), isContext: false).message,
      host.directory.server)
    guard object != "link" else {
      return try host.done(
        AddName(
          host.name("\(directory)/\(object)"), kind: .symbolicLink, permissions: 0o777,
          target: Array("x".utf8)))
    }
    let made = try host.open("\(directory)/\(object)", [.read, .write, .create])
    try host.done(ReleaseInstance(made.instance), at: made.manager)
  }

  @Test(
    "in a directory that is closed to them are refused, with the octets that work for its owner",
    arguments: operations.map(\.code))
  func closedDirectories(code: UInt32) throws {
    let host = try AttackedHost()
    let operation = try #require(OperationTable.entry(code)).name
    let object = code == ReadLink.code ? "link" : "file"
    var worked = 0
    for directory in Self.directories {
      try Self.furnish(host, directory, object)
      let request = try Self.request(code, host, directory, object)
      let answer = host.send(request, host.directory.server).code
      #expect(answer != .noPermission, "\(operation) in \(directory) by its owner")
      if answer == .ok || answer == .noAttribute { worked += 1 }
      for who in Who.strangers {
        // Where root of a container has root's rights on file data, it may.
        if who == .containedRoot && directory.hasPrefix("storage") { continue }
        try Self.furnish(host, directory, object, isAnew: code != LinkName.code)
        let refusal = host.send(request, host.directory.server, as: who).code
        #expect(
          refusal == .noPermission || refusal == .notOwner
            || (answer == .notSupported && refusal == answer),
          "\(operation) in \(directory) by \(who): \(refusal)")
      }
      try Self.furnish(host, directory, object, isAnew: code != LinkName.code)
      let byRoot = host.send(request, host.directory.server, as: .root).code
      #expect(
        byRoot != .noPermission && byRoot != .notOwner || answer == byRoot,
        "\(operation) in \(directory) by root: \(byRoot)")
    }
    #expect(worked > 0, "\(operation) works for nobody: the attack would prove nothing")
  }

  @Test("by the number of a closed directory are refused as by its name")
  func contexts() throws {
    let host = try AttackedHost()
    for directory in Self.directories {
      try Self.furnish(host, directory, "file")
      let described = host.send(QueryObject(host.name(directory)).message, host.directory.server)
      let context = try Descriptor(parsing: described.message).context
      let file = ContextName(context, Array("file".utf8))
      let new = ContextName(context, Array("new".utf8))
      let manager = described.server
      for message in [
        QueryObject(file).message, CreateInstance(file, mode: .read).message,
        CreateInstance(ContextName(context), mode: [.read, .directory]).message,
        AddName(new, kind: .context, permissions: 0o700).message,
        RemoveName(file, isContext: false).message,
        CheckAccess(file, mask: 4).message, CheckAccess(ContextName(context), mask: 1).message,
      ] {
        for who in Who.strangers {
          if who == .containedRoot && directory.hasPrefix("storage") { continue }
          let answer = host.send(message, manager, as: who).code
          #expect(answer == .noPermission, "\(directory) \(message.mcb.code) by \(who): \(answer)")
        }
        #expect(host.send(message, manager).code == .ok, "\(directory) \(message.mcb.code)")
        try Self.furnish(host, directory, "file")
      }
    }
  }

  @Test(
    "objects of mode 600 in open directories are neither read, written nor changed",
    arguments: [
      "storage/kea/private", "ram/kea/private", "pipe/kea/private", "team/kea/PROGRAM/mem",
      "team/kea/PROGRAM/out", "team/kea/PROGRAM/in", "team/kea/PROGRAM/environ",
    ])
  func privateObjects(path: String) throws {
    let host = try AttackedHost()
    let isMade = !path.contains("PROGRAM")
    let path = path.replacing("PROGRAM", with: host.program)
    if isMade { _ = try host.open(path, [.read, .write, .create]) }
    var readable = Modification()
    readable.permissions = 0o666
    for who in Who.strangers {
      if who == .containedRoot && path.hasPrefix("storage") { continue }
      for mode in [OpenMode.read, .write, [.read, .write], [.write, .truncate], .execute] {
        let answer = host.send(
          CreateInstance(host.name(path), mode: mode).message, host.directory.server, as: who)
        #expect(answer.code == .noPermission, "\(path) \(mode.rawValue) by \(who): \(answer.code)")
      }
      let changed = host.send(
        ModifyObject(host.name(path), readable).message, host.directory.server, as: who)
      #expect([.notOwner, .noPermission].contains(changed.code), "\(path) by \(who)")
      // The disk's directory is everybody's, without the sticky bit: there anybody may.
      if isMade && !path.hasPrefix("storage") {
        let removed = host.send(
          RemoveName(host.name(path), isContext: false).message, host.directory.server, as: who)
        #expect(
          [.notOwner, .noPermission].contains(removed.code), "\(path) by \(who): \(removed.code)")
      }
    }
  }
}
