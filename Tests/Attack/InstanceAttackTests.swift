import Testing
import VDirectory
import VNode
import VProtocol
import VRuntime

/// Every operation on an instance, on every kind of instance, by every principal but its own.
@Suite("Attacks on instances")
struct InstanceAttackTests {
  /// The operations that the table reserves for the instance's principal.
  static let operations = OperationTable.entries.filter { $0.access == .instance }

  /// A request of the operation for an instance: if it has no line here, it is sent with only the
  /// instance.
  private static func request(
    _ code: UInt32, _ instance: InstanceID, of kind: OpenKind, owner: EntityID
  ) -> Message {
    let lock = ObjectLock(.shared, isWhole: false, owner: 1, range: 0...9, process: 1)
    var touched = Modification()
    touched.modified = .now
    switch code {
    case ModifyInstance.code: return ModifyInstance(instance, touched).message
    case ReadInstance.code: return ReadInstance(instance, position: 0, count: 1024).message
    case WriteInstance.code:
      return WriteInstance(instance, position: 0, data: kind.data).message
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

  @Test("are refused, with octets that work for its principal", arguments: operations.map(\.code))
  func instances(code: UInt32) throws {
    let host = try AttackedHost()
    for kind in OpenKind.all { try attack(code, kind, host) }
  }

  private func attack(_ code: UInt32, _ kind: OpenKind, _ host: AttackedHost) throws {
    let operation = try #require(OperationTable.entry(code)).name
    let name = host.path(kind.path)
    let (instance, manager) = try host.open(name, kind.mode)
    let request = Self.request(code, instance, of: kind, owner: host.process(of: .mounted))
    let works = kind.works(code)
    if code == ReadInstance.code { try host.put("a", in: kind) }
    // Operations that end the instance come last.
    if code != ReleaseInstance.code {
      let answer = host.send(request, manager).code
      #expect((answer == .ok) == works, "\(operation) of \(name) by its owner: \(answer)")
      #expect(answer != .noPermission, "\(operation) of \(name) by its owner")
    }
    let before = host.state(of: instance, manager, kind)
    for who in Who.attackers {
      var requests = [request]
      if code == ChangeOwner.code {
        requests.append(ChangeOwner(instance, to: host.process(of: who)).message)
      }
      for request in requests {
        let answer = host.send(request, manager, as: who).code
        #expect(answer == .noPermission, "\(operation) of \(name) by \(who): \(answer)")
      }
    }
    let after = host.state(of: instance, manager, kind)
    #expect(after == before, "\(operation) of \(name) was refused, and changed something")
    try expectNothingTaken(from: instance, manager, kind, by: code, host)
    if code == ReleaseInstance.code {
      #expect(host.send(request, manager).code == .ok)
      #expect(host.send(QueryInstance(instance).message, manager).code == .invalidFileID)
    }
  }

  /// A stream can still be read completely after the attack, and has nothing else.
  private func expectNothingTaken(
    from instance: InstanceID, _ manager: EntityID, _ kind: OpenKind, by code: UInt32,
    _ host: AttackedHost
  ) throws {
    guard let put = try host.put("z", in: kind) else { return }
    let isWritten = code == WriteInstance.code && kind.can.contains(.write)
    let expected = (isWritten ? String(decoding: kind.data, as: UTF8.self) : "") + put
    var text = ""
    // A read joins no two writes.
    while text.utf8.count < expected.utf8.count {
      let read = host.send(ReadInstance(instance, position: 0, count: 1024).message, manager)
      guard read.code == .ok, !read.message.segment.isEmpty else { break }
      text += String(decoding: read.message.segment, as: UTF8.self)
    }
    #expect(text == expected, "\(kind.path) after \(code)")
  }

  @Test("numbers are shown to root of the host only, and cannot be guessed")
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
    "a mode without rights, or with unknown bits, opens nothing",
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

  @Test("an owner of another kernel, or that is no process, is refused")
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
