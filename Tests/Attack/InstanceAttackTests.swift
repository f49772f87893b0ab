import Testing
import VDirectory
import VNode
import VProtocol
import VRuntime

/// Every operation on an instance, on every kind of instance, by everybody but whose it is.
@Suite("Attacks on instances")
struct InstanceAttackTests {
  /// What the owner has open: a path, how, and whether everybody could open it too.
  private static let kinds: [(path: String, mode: OpenMode)] = [
    ("storage/kea/own/file", [.read, .write, .create]), ("storage/kea/own", [.read, .directory]),
    ("storage", [.read, .directory]), ("pipe/kea/own", [.read, .write, .create]),
    ("pipe/kea", [.read, .directory]), ("ram/kea/own/file", [.read, .write, .create]),
    ("ram/kea/own", [.read, .directory]), ("group/own/send", [.read, .write]),
    ("group/own/members/ann", .read), ("group/own/members", [.read, .directory]),
    ("group/own/status", .read), ("team/kea/new", [.read, .write]),
    ("team/kea/PROGRAM/in", .write), ("team/kea/PROGRAM/out", .read),
    ("team/kea/PROGRAM/wait", .read), ("team/kea/PROGRAM/events", .read),
    ("team/kea/PROGRAM/ctl", [.read, .write]), ("team/kea/PROGRAM/mem", .read),
    ("team/kea/PROGRAM", [.read, .directory]), ("host/kea/status", .read),
    ("host/kea/device/null", [.read, .write]), ("host/kea/uio", .read),
  ]

  /// The operations that the table says are the instance's principal's.
  static let operations = OperationTable.entries.filter { $0.access == .instance }

  /// A request of the operation for an instance: an operation without a line here is sent with
  /// nothing but the instance.
  static func request(_ code: UInt32, _ instance: InstanceID, owner: EntityID) -> Message {
    let lock = ObjectLock(.shared, isWhole: false, owner: 1, range: 0...9, process: 1)
    var touched = Modification()
    touched.modified = .now
    switch code {
    case ModifyInstance.code: return ModifyInstance(instance, touched).message
    case ReadInstance.code: return ReadInstance(instance, position: 0, count: 1024).message
    case WriteInstance.code: return WriteInstance(instance, position: 0, data: [0x31]).message
    case SyncInstance.code: return SyncInstance(instance, isDataOnly: false).message
    case LockInstance.code: return LockInstance(instance, lock, .atOnce).message
    case QueryLock.code: return QueryLock(instance, lock).message
    case ChangeOwner.code: return ChangeOwner(instance, to: owner).message
    default:
      var message = QueryInstance(instance).message
      message.mcb.code = code
      return message
    }
  }

  @Test("are refused, with the octets that work for whose it is", arguments: operations.map(\.code))
  func instances(code: UInt32) throws {
    let host = try AttackedHost()
    let operation = try #require(OperationTable.entry(code)).name
    var worked = 0
    for kind in Self.kinds {
      let path = kind.path.replacing("PROGRAM", with: host.program)
      let (instance, manager) = try host.open(path, kind.mode)
      let request = Self.request(code, instance, owner: host.process)
      // What ends the instance works last.
      if code != ReleaseInstance.code {
        let answer = host.send(request, manager).code
        #expect(answer != .noPermission, "\(operation) of \(path) by its owner")
        if answer == .ok { worked += 1 }
      }
      for who in Who.attackers {
        let answer = host.send(request, manager, as: who).code
        #expect(answer == .noPermission, "\(operation) of \(path) by \(who): \(answer)")
      }
      if code == ReleaseInstance.code {
        // It is still there, and still its owner's.
        #expect(host.send(QueryInstance(instance).message, manager).code != .invalidFileID)
        #expect(host.send(request, manager).code == .ok)
        worked += 1
      }
    }
    #expect(worked > 0, "\(operation) works for nobody: the attack would prove nothing")
  }

  @Test("numbers are told to root of the host only, and cannot be counted")
  func numbers() throws {
    let host = try AttackedHost()
    var known: Set<UInt64> = []
    for _ in 0..<20 {
      let opened = try host.open("host/kea/status", .read)
      #expect(opened.instance.rawValue > 1 << 32, "64 bits, of which no half is 0")
      for other in known {
        let distance = opened.instance.rawValue &- other
        #expect(min(distance, 0 &- distance) > 1 << 20, "next to another one")
      }
      known.insert(opened.instance.rawValue)
    }
    let opened = try host.open("host/kea/status", .read)
    for who in Who.allCases {
      let lines = host.send(ListInstances(from: 0).message, opened.manager, as: who)
      let text = String(decoding: lines.message.segment, as: UTF8.self)
      #expect(text.contains("\(opened.instance.rawValue)") == (who == .root), "\(who)")
    }
  }

  @Test(
    "a mode that asks for nothing, or for what there is not, opens nothing",
    arguments: [0, 4, 8, 0x800, 0x801, 0x8000, 64 | 2, 32, 16 | 1, 64 | 512] as [UInt32])
  func modes(mode: UInt32) throws {
    let host = try AttackedHost()
    for path in ["storage/kea", "pipe/kea/p", "ram/kea/f", "team/kea/new", "host/kea/status"] {
      let operation = CreateInstance(
        host.name(path), mode: OpenMode(rawValue: mode), permissions: 0o600)
      let answer = host.send(operation.message, host.directory.server).code
      #expect(answer == .modeNotSupported, "\(path): \(answer)")
    }
  }

  @Test("an owner of another kernel, or none that could be one, is refused")
  func owners() throws {
    let host = try AttackedHost()
    let foreign = [
      host.moa.makeClient("ann"), EntityID(kernel: KernelID(1), discriminator: 99),
      .nameHandlingGroup,
    ]
    for path in ["storage/kea", "pipe/kea", "ram/kea", "team/kea", "host/kea", "group", "storage"] {
      for owner in foreign {
        let operation = CreateInstance(
          host.name(path), mode: [.read, .directory], owner: owner)
        let answer = host.send(operation.message, host.directory.server).code
        #expect(answer == .noPermission, "\(path) for \(owner): \(answer)")
      }
    }
    let (instance, manager) = try host.open("storage/kea", [.read, .directory])
    for owner in foreign {
      #expect(host.send(ChangeOwner(instance, to: owner).message, manager).code == .noPermission)
    }
  }
}
