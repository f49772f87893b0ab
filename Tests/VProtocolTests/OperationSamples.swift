import VProtocol

/// A value of an operation or an answer, and the part of its segment that may be missing.
struct Sample<Value: Sendable>: Sendable, CustomStringConvertible {
  let description: String
  let value: Value
  /// Octets at the end of the segment whose loss only makes the value a shorter one.
  let tail: Int

  init(_ value: Value, tail: Int, _ note: String) {
    self.value = value
    self.tail = tail
    description = "\(type(of: value as Any))\(note.isEmpty ? "" : ", \(note)")"
  }
}

private func operation(
  _ value: any Operation, tail: Int = 0, _ note: String = ""
) -> Sample<any Operation> {
  Sample(value, tail: tail, note)
}

private func answer(
  _ value: any OperationAnswer, tail: Int = 0, _ note: String = ""
) -> Sample<any OperationAnswer> {
  Sample(value, tail: tail, note)
}

/// Values with the least, the most and something in between in each field.
enum Samples {
  static let kernel = KernelID(0xFEDC_BA98)
  static let entity = EntityID(kernel: kernel, discriminator: 0x0ABC_DEF0)
  static let all = EntityID(rawValue: .max)
  static let everyOctet = (0...255).map { UInt8($0) }

  static let names: [ContextName] = [
    ContextName(.none),
    ContextName(ContextID(rawValue: .max), everyOctet, index: 256),
    ContextName(ContextID(rawValue: 1), Array("a/b".utf8), index: 2),
    ContextName(
      ContextID(rawValue: 0x8000_0000), [UInt8](repeating: 0xFF, count: 4096), index: 4096),
  ]

  static let modification: Modification = {
    var value = Modification()
    value.permissions = .max
    value.size = .max
    value.owner = "#4294967295"
    value.group = ""
    value.accessed = .at(.min)
    value.modified = .at(.max)
    value.dropsPrivileges = true
    return value
  }()

  static let descriptor: Descriptor = {
    var value = Descriptor(
      kind: ObjectKind(rawValue: .max),
      identity: .init(device: .max, inode: .max, generation: .max))
    value.attributes = UIOAttributes(rawValue: .max)
    value.size = .max
    value.allocatedBytes = .max
    value.modified = .min
    value.changed = .max
    value.accessed = -1
    value.born = 0
    value.permissions = .max
    value.links = .max
    value.blockSize = .max
    value.context = ContextID(rawValue: .max)
    value.deviceNumber = .max
    value.nextPosition = .max
    value.owner = String(repeating: "o", count: 255)
    value.group = String(repeating: "g", count: 255)
    value.name = [UInt8](repeating: 0xFE, count: 255)
    return value
  }()

  static let lock = ObjectLock(
    .exclusive, isWhole: true, owner: .max, range: .max ... .max, process: .max)
  static let noLock = ObjectLock(.none, isWhole: false, owner: 0, range: 0...0, process: 0)
  static let attribute = [UInt8](repeating: 0x61, count: ChangeAttribute.attributeBytesMax)

  static let operations: [Sample<any Operation>] =
    uio + naming + node + groups + [
      operation(ProbeEntity(entity)),
      operation(ProbeEntity(all), "largest"),
    ]

  private static let uio: [Sample<any Operation>] =
    names.map {
      operation(
        CreateInstance($0, mode: OpenMode(rawValue: 0xFFFF), permissions: 0xFFFF, owner: all),
        "\($0.name.count)")
    } + [
      operation(CreateInstance(ContextName(.none), mode: []), "least"),
      operation(QueryInstance(InstanceID(rawValue: .max))),
      operation(ModifyInstance(InstanceID(rawValue: 0), Modification()), "nothing"),
      operation(ModifyInstance(InstanceID(rawValue: .max), modification), "all"),
      operation(ReadInstance(InstanceID(rawValue: .max), position: .max, count: 0xFFFF_FFFF)),
      operation(ReadInstance(InstanceID(rawValue: 0), position: 0, count: 0), "least"),
      operation(WriteInstance(InstanceID(rawValue: 0), position: 0, data: []), "least"),
      operation(
        WriteInstance(
          InstanceID(rawValue: .max), position: .max, data: [UInt8](repeating: 7, count: 16_384),
          dropsPrivileges: true), tail: 16_384),
      operation(ReleaseInstance(InstanceID(rawValue: .max))),
      operation(SyncInstance(InstanceID(rawValue: .max), isDataOnly: true)),
      operation(SyncInstance(InstanceID(rawValue: 0), isDataOnly: false), "least"),
      operation(LockInstance(InstanceID(rawValue: .max), lock, .reclaiming, grant: .max)),
      operation(LockInstance(InstanceID(rawValue: 0), noLock, .atOnce), "least"),
      operation(QueryLock(InstanceID(rawValue: .max), lock)),
      operation(ChangeOwner(InstanceID(rawValue: .max), to: all)),
      operation(
        AwaitInstance(
          InstanceID(rawValue: .max), for: Readiness(rawValue: .max), isWaiting: true)),
      operation(AwaitInstance(InstanceID(rawValue: 0), isWaiting: false), "least"),
      operation(CancelWait(all)), operation(ListInstances(from: .max)),
    ]

  /// Of one claim.
  private static let digest: ClaimDigest = {
    var digest = ClaimDigest()
    digest.add(
      Claim(
        prefix: Array("a".utf8), manager: entity, context: .none, host: "kea", clock: 1,
        state: .present))
    return digest
  }()

  private static let node: [Sample<any Operation>] = [
    operation(
      ClaimName(
        prefix: Array("a/b".utf8), context: ContextID(rawValue: .max), manager: all,
        yields: true)),
    operation(ForgetName(prefix: Array("a/b".utf8), manager: all)),
    operation(SpreadClaims([], wantsAnswer: true)),
    operation(SpreadDigest(entity, digest, [])),
    operation(QueryClaims(.max, from: .max)),
    operation(PingNode()),
    operation(FindNode(host: ""), "least"),
    operation(FindNode(host: String(repeating: "h", count: 255)), tail: 255),
    operation(QueryNode()),
    operation(EchoSegment(answerBytes: 16_384, data: everyOctet), tail: 256),
    operation(EchoSegment(answerBytes: 0, data: []), "least"),
    operation(GetTime()),
    operation(GetTime(near: all), "of a host"),
    operation(DelayProcess(TimeSpan(nanoseconds: 0)), "least"),
    operation(
      DelayProcess(TimeSpan(nanoseconds: DelayProcess.nanosecondsMax), near: all), "longest"),
    operation(WakeUp(all)),
    operation(QueryProcess(entity)),
    operation(SelectHost(.foreground), "least"),
    operation(SelectHost(.guest, excluded: ["kea", String(repeating: "h", count: 255)])),
    operation(ControlTeam(entity, ""), "least"),
    operation(ControlTeam(all, "suspend"), tail: 7),
    operation(MeasureSends(target: .entity(all), count: 1, limitMilliseconds: 3_600_000)),
    operation(
      MeasureSends(target: .host("kea"), count: 100_000, limitMilliseconds: 1), tail: 2, "host"),
  ]

  /// Not UTF-8: names are octets.
  private static let member = QueryGroup.Member(
    Name([UInt8](repeating: 0xFF, count: 255)), owner: String(repeating: "o", count: 32))

  private static let groups: [Sample<any Operation>] = [
    operation(GroupMessage(sender: "", text: ""), "least"),
    operation(
      GroupMessage(
        sender: String(repeating: "s", count: 255),
        text: String(repeating: "t", count: GroupMessage.textBytesMax)),
      tail: GroupMessage.textBytesMax),
    operation(QueryGroup(""), "all"),
    operation(QueryGroup("jobs"), tail: 4),
    operation(QueryGroup(member.name), tail: 255, "no text"),
    operation(ChangeGroup(.leave, "", host: ""), "least"),
    operation(
      {
        var change = ChangeGroup(.join, member.name, host: "kea")
        change.member = member.name
        change.owner = member.owner
        change.program = all
        change.permissions = .all
        return change
      }()),
  ]

  private static let groupState: QueryGroup.Answer = {
    var value = QueryGroup.Answer(host: "kea")
    value.madeAt = .min
    value.owner = member.owner
    value.permissions = .max
    return value
  }()

  private static let naming: [Sample<any Operation>] =
    names.flatMap { name -> [Sample<any Operation>] in
      let note = "\(name.name.count)"
      return [
        operation(QueryName(name), note),
        operation(QueryObject(name), note),
        operation(ModifyObject(name, modification), note),
        operation(
          AddName(
            name, kind: ObjectKind(rawValue: .max), permissions: 0xFFFF, deviceNumber: .max,
            target: [UInt8](repeating: 0x2F, count: 4096)), tail: 4096, note),
        operation(LinkName(name, object: ContextID(rawValue: .max)), note),
        operation(RemoveName(name, isContext: true), note),
        operation(RemoveName(name, isContext: false), note + " file"),
        operation(
          RenameObject(
            name, to: ContextID(rawValue: .max), [UInt8](repeating: 0, count: 4096),
            mode: .exchange), tail: 4096, note),
        operation(RenameObject(name, to: .none, [], mode: .replace), note + " to nothing"),
        operation(ReadLink(name), note),
        operation(CheckAccess(name, mask: 7), note),
        operation(QueryStore(name), note),
        operation(QueryAttribute(name, attribute: Array("user.a".utf8)), tail: 6, note),
        operation(ListAttributes(name), note),
        operation(ChangeAttribute(name, attribute: attribute, .remove), note + " removed"),
        operation(
          ChangeAttribute(name, attribute: attribute, .create(everyOctet)), tail: 256, note),
        operation(
          ChangeAttribute(name, attribute: [], .replace(everyOctet)), tail: 256, note + " least"),
        operation(ChangeAttribute(name, attribute: attribute, .set([])), note + " set"),
      ]
    }

  static let answers: [Sample<any OperationAnswer>] = [
    answer(Done()),
    answer(descriptor),
    answer(Descriptor(kind: .file, identity: .init(device: 0, inode: 0, generation: 0)), "least"),
    answer(
      CreateInstance.Answer(
        instance: InstanceID(rawValue: .max), attributes: UIOAttributes(rawValue: .max),
        isNew: true, descriptor: descriptor)),
    answer(ReadInstance.Answer(data: []), "least"),
    answer(ReadInstance.Answer(data: [1], position: .max), tail: 1),
    answer(Octets(data: []), "least"),
    answer(Octets(data: everyOctet), tail: 256),
    answer(
      ReadInstance.Answer(data: [UInt8](repeating: 1, count: 16_384)), tail: 16_384),
    answer(ListInstances.Answer(next: .max, data: []), "least"),
    answer(ListInstances.Answer(next: 1, data: [0x61]), tail: 1),
    answer(LockInstance.Answer(grant: .max)),
    answer(QueryLock.Answer(lock: lock)),
    answer(AwaitInstance.Answer(ready: Readiness(rawValue: .max))),
    answer(WriteInstance.Answer(count: 0xFFFF_FFFF, size: .max)),
    answer(
      QueryName.Answer(
        manager: all, context: ContextID(rawValue: .max), prefixBytes: 4096, kind: .sharedContext)
    ),
    answer(
      QueryName.Answer(manager: entity, context: .none, prefixBytes: 0, kind: .context), "least"),
    answer(QueryClaims.Answer(next: .max, claims: [])),
    answer(FindNode.Answer(server: all, host: "kea", wallClock: .min), tail: 3),
    answer(EchoSegment.Answer(data: everyOctet), tail: 256),
    answer(QueryNode.Answer(text: "host kea\n"), tail: 9),
    answer(measurement),
    answer(SelectHost.Answer(server: all, loadThousandths: .max, host: "kea"), tail: 3),
    answer(Nanoseconds(.min)),
    answer(Nanoseconds(.max), "most"),
    answer(storeState),
    answer(GroupMessage.Answer(.ok, member: "", words: ""), "least"),
    answer(
      GroupMessage.Answer(
        ReplyCode(rawValue: .max), member: member.name, words: String(repeating: "w", count: 255)),
      tail: 255),
    answer(QueryGroup.Answer(host: ""), "least"),
    answer(groupState),
    answer(QueryStore.Answer(), "least"),
    answer(
      ProbeEntity.EntityState(
        transaction: TransactionID(.max), entity: all, isAwaitingResponse: true,
        principal: String(repeating: "p", count: 255), marks: [.mountMade, .fullRoot],
        startedAt: .max),
      tail: 255),
    answer(
      ProbeEntity.EntityState(
        transaction: TransactionID(0), entity: entity, isAwaitingResponse: false, principal: ""),
      "least"),
  ]

  private static let measurement: MeasureSends.Answer = {
    var samples: [UInt32] = [3, .max, 1]
    return MeasureSends.Answer(samples: &samples, lost: 2, code: .userTimeout)
  }()

  private static let storeState: QueryStore.Answer = {
    var value = QueryStore.Answer()
    value.blockSize = .max
    value.blocks = .max - 1
    value.blocksFree = .max - 2
    value.blocksAvailable = .max - 3
    value.objects = .max - 4
    value.objectsFree = .max - 5
    value.objectsAvailable = .max - 6
    value.nameBytesMax = .max - 7
    return value
  }()
}
