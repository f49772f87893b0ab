import Testing
import VDirectory
import VProtocol
import VRuntime

/// Every operation on a name, on objects that only their owner may use.
@Suite("Attacks on names")
struct NameAttackTests {
  static let operations = OperationTable.entries.filter { $0.access == .name }

  /// Trees with a directory of mode 700 that is ann's.
  private static let directories = ["storage/kea/own", "ram/kea/own"]

  /// A request for the object `own/NAME`, and the objects that it needs.
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

  /// Makes the objects again that a request needs and a successful one may have removed; an object
  /// whose context the request has stays.
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

  /// The owner's answers; a user with the same rights gets the same.
  private static func answer(_ code: UInt32, in directory: String) -> ReplyCode {
    guard directory.hasPrefix("ram") else {
      return code == QueryAttribute.code ? .noAttribute : .ok
    }
    // Operations that the memory store does not support fail for everybody.
    switch code {
    case LinkName.code: return .notOwner
    case QueryAttribute.code, ListAttributes.code, ChangeAttribute.code: return .notSupported
    default: return .ok
    }
  }

  /// The owner's view of the directory and of the object of an attack.
  private static func state(
    _ host: AttackedHost, _ directory: String, _ object: String
  ) -> [Message] {
    ["", "/\(object)", "/new"].map {
      host.send(QueryObject(host.name(directory + $0)).message, host.directory.server).message
    }
  }

  /// Root of a container has root's rights on file data.
  private static func mayPass(_ who: Who, _ directory: String) -> Bool {
    !Who.strangers.contains(who) || who.isContainedHere && directory.hasPrefix("storage")
  }

  @Test(
    "in a directory that is closed to them are refused, with the octets that work for its owner",
    arguments: operations.map(\.code))
  func closedDirectories(code: UInt32) throws {
    let host = try AttackedHost()
    let operation = try #require(OperationTable.entry(code)).name
    let object = code == ReadLink.code ? "link" : "file"
    for directory in Self.directories {
      try Self.furnish(host, directory, object)
      let request = try Self.request(code, host, directory, object)
      let expected = Self.answer(code, in: directory)
      let isSupported = expected == .ok || expected == .noAttribute
      // Only its owner can link an object, even if others may write in the directory.
      let refusal = code == LinkName.code ? ReplyCode.notOwner : .noPermission
      for who in Who.allCases {
        let mayPass = Self.mayPass(who, directory)
        try Self.furnish(host, directory, object, isAnew: code != LinkName.code)
        let before = Self.state(host, directory, object)
        let answer = host.send(request, host.directory.server, as: who).code
        #expect(
          answer == .ok || Self.state(host, directory, object) == before,
          "\(operation) in \(directory) was refused to \(who), and changed something")
        #expect(
          answer == (mayPass || !isSupported ? expected : refusal),
          "\(operation) in \(directory) by \(who): \(answer)")
      }
    }
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
        for who in Who.allCases {
          let answer = host.send(message, manager, as: who).code
          #expect(
            answer == (Self.mayPass(who, directory) ? .ok : .noPermission),
            "\(directory) \(message.mcb.code) by \(who): \(answer)")
          if answer == .ok { try Self.furnish(host, directory, "file") }
        }
      }
    }
  }

  @Test(
    "objects of mode 600 or 700 in open directories are neither read, written, run nor changed",
    arguments: [
      "storage/kea/private", "ram/kea/private", "pipe/kea/private", "team/kea/PROGRAM/mem",
      "team/kea/PROGRAM/out", "team/kea/PROGRAM/in", "team/kea/PROGRAM/environ",
      "team/kea/PROGRAM/err", "team/kea/PROGRAM/regions",
    ])
  func privateObjects(path: String) throws {
    let host = try AttackedHost()
    let isMade = !path.contains("PROGRAM")
    let path = host.path(path)
    if isMade { _ = try host.open(path, [.read, .write, .create], permissions: 0o700) }
    func code(_ mode: OpenMode, _ who: Who) -> ReplyCode {
      host.send(CreateInstance(host.name(path), mode: mode).message, host.directory.server, as: who)
        .code
    }
    let modes = [OpenMode.read, .write, [.read, .write], [.write, .truncate], .execute].filter {
      code($0, .owner) == .ok
    }
    #expect(!modes.isEmpty, "its owner can do nothing with \(path)")
    for who in Who.attackers {
      for mode in modes {
        let answer = code(mode, who)
        #expect(
          answer == (Self.mayPass(who, path) ? .ok : .noPermission),
          "\(path) \(mode.rawValue) by \(who): \(answer)")
      }
    }
    guard isMade else { return }
    try changes(of: path, host)
  }

  @Test("a file that may be run and written but not read is only run, by a node's own mount")
  func unreadable() throws {
    let host = try AttackedHost()
    let path = "storage/kea/tool"
    _ = try host.open(path, [.read, .write, .create], permissions: 0o733)
    for (mode, byAttached, byMount) in [
      (.write, .ok, .ok), (.execute, .noPermission, .ok), (.read, .noPermission, .noPermission),
      ([.execute, .write], .noPermission, .noPermission),
      ([.execute, .read], .noPermission, .noPermission),
    ] as [(OpenMode, ReplyCode, ReplyCode)] {
      let operation = CreateInstance(host.name(path), mode: mode).message
      for (who, expected) in [(Who.other, byAttached), (.mountedOther, byMount), (.owner, .ok)] {
        let answer = host.send(operation, host.directory.server, as: who).code
        #expect(answer == expected, "\(mode.rawValue) by \(who): \(answer)")
      }
    }
  }

  private func changes(of path: String, _ host: AttackedHost) throws {
    var readable = Modification()
    readable.permissions = 0o666
    let change = ModifyObject(host.name(path), readable).message
    let remove = RemoveName(host.name(path), isContext: false).message
    for who in Who.attackers where !Self.mayPass(who, path) {
      let changed = host.send(change, host.directory.server, as: who).code
      #expect(changed == .notOwner, "\(path) by \(who): \(changed)")
      // The disk's root may be written by everybody, without the sticky bit: there anybody may
      // remove.
      guard !path.hasPrefix("storage") else { continue }
      let removed = host.send(remove, host.directory.server, as: who).code
      #expect(removed == .notOwner, "\(path) by \(who): \(removed)")
    }
    for who in Who.allCases where Self.mayPass(who, path) {
      #expect(host.send(change, host.directory.server, as: who).code == .ok, "\(path) by \(who)")
      #expect(host.send(remove, host.directory.server, as: who).code == .ok, "\(path) by \(who)")
      _ = try host.open(path, [.read, .write, .create])
    }
  }
}
