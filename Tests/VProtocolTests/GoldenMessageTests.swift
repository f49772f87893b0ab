import Fixtures
import Testing
import VProtocol

/// The messages of the cluster domain, each compared with its value.
@Suite("Golden messages")
struct GoldenMessageTests {
  private let kernelS = KernelID(0xA1B2_C301)
  private let kernelN = KernelID(0x0D0E_0F11)

  @Test("CreateInstance")
  func createInstance() throws {
    try expect(
      "c01",
      CreateInstance(
        ContextName(ContextID(rawValue: 5), Array("src/a.c".utf8), index: 4),
        mode: [.read, .write, .create], permissions: 0o644,
        owner: EntityID(kernel: kernelS, discriminator: 18)))
  }

  @Test("the answer to CreateInstance, with its descriptor")
  func createAnswer() throws {
    var descriptor = Descriptor(
      kind: .file, identity: .init(device: 0x801, inode: 0xA1234, generation: 2))
    descriptor.attributes = [.readable, .writeable, .storage, .randomAccess]
    descriptor.size = 4097
    descriptor.allocatedBytes = 8192
    descriptor.modified = 0x17A0_B0C0_D0E0_F001
    descriptor.changed = 0x17A0_B0C0_D0E0_F002
    descriptor.accessed = 0x17A0_B0C0_D0E0_F003
    descriptor.born = 0x17A0_B0C0_D0E0_F004
    descriptor.permissions = 0o644
    descriptor.owner = "ann"
    descriptor.group = "staff"
    descriptor.name = Array("a.c".utf8)
    try expect(
      "c02",
      CreateInstance.Answer(
        instance: InstanceID(rawValue: 9), attributes: descriptor.attributes, isNew: true,
        descriptor: descriptor))
  }

  @Test("ModifyObject")
  func modifyObject() throws {
    var modification = Modification()
    modification.permissions = 0o755
    modification.group = "staff"
    modification.accessed = .now
    modification.modified = .at(-1)
    try expect(
      "c03", ModifyObject(ContextName(ContextID(rawValue: 5), Array("a".utf8)), modification))
  }

  @Test("QueryName and its answer")
  func queryName() throws {
    try expect("c04", QueryName(ContextName(.none, Array("desk/fs/a".utf8))))
    #expect(try parse(Fixture.named("c04").body).server == .nameHandlingGroup)
    try expect(
      "c05",
      QueryName.Answer(
        manager: EntityID(kernel: kernelN, discriminator: 17), context: ContextID(rawValue: 1),
        prefixBytes: 7, kind: .context))
  }

  @Test("NotifyVmtpServer")
  func notifyServer() throws {
    let header = try parse(Fixture.named("c06").body)
    let notify = NotifyServer(
      server: EntityID(kernel: kernelN, discriminator: 17),
      client: EntityID(kernel: kernelS, discriminator: 16),
      transaction: TransactionID(0x8000_0000), delivery: DeliveryMask(rawValue: 2), code: .retry)
    #expect(NotifyServer(parsing: header.mcb) == notify)
    #expect(notify.mcb == header.mcb)
    #expect(header.client == .manager(of: kernelS))
    #expect(header.server == .managerGroup)
  }

  @Test("a repeated request is a header alone, with the size of its segment")
  func retransmission() throws {
    let header = try parse(Fixture.named("c07").body)
    #expect(header.retransmitCount == 5)
    #expect(header.control == .acknowledge)
    #expect(header.delivery.isEmpty)
    #expect(header.mcb.segmentSize == 16_384)
  }

  @Test("ReadLink, below a checksum of the header only")
  func readLink() throws {
    #expect(try parse(Fixture.named("c11").body).packetFlags == .headerChecksumOnly)
    try expect("c11", ReadLink(ContextName(ContextID(rawValue: 5), Array("abc".utf8))))
  }

  @Test("the answer to ProbeEntity")
  func probeAnswer() throws {
    try expect(
      "c12",
      ProbeEntity.EntityState(
        transaction: TransactionID(0xFFFF_FFFE),
        entity: EntityID(kernel: kernelS, discriminator: 16), isAwaitingResponse: true,
        principal: "ann@kea"))
    try expect(
      "c21",
      ProbeEntity.EntityState(
        transaction: TransactionID(0xFFFF_FFFE),
        entity: EntityID(kernel: kernelS, discriminator: 16), isAwaitingResponse: true,
        principal: "root@kea", marks: [.mountMade, .fullRoot]))
  }

  @Test("ChangeOwner")
  func changeOwner() throws {
    try expect(
      "c20",
      ChangeOwner(InstanceID(rawValue: 9), to: EntityID(kernel: kernelS, discriminator: 18)))
  }

  @Test("AwaitInstance")
  func awaitInstance() throws {
    try expect(
      "c26",
      AwaitInstance(InstanceID(rawValue: 9), for: [.readable, .writeable], isWaiting: true))
  }

  @Test("RenameObject")
  func rename() throws {
    try expect(
      "c13",
      RenameObject(
        ContextName(ContextID(rawValue: 5), Array("old".utf8)), to: ContextID(rawValue: 6),
        Array("n".utf8), mode: .noReplace))
  }

  @Test("QueryInstance, without a checksum, and WriteInstance")
  func instances() throws {
    let query = try parse(Fixture.named("c10").body)
    #expect(query.mcb.code == QueryInstance.code)
    try expect("c10", QueryInstance(InstanceID(rawValue: 9)))
    try expect(
      "c14",
      WriteInstance(
        InstanceID(rawValue: 9), position: 1 << 32, data: Array("hi".utf8), dropsPrivileges: true))
  }

  @Test("LockInstance and ChangeAttribute")
  func locksAndAttributes() throws {
    let lock = ObjectLock(
      .exclusive, isWhole: false, owner: 0x0102_0304_0506_0708, range: 10...14, process: 77)
    try expect("c18", LockInstance(InstanceID(rawValue: 9), lock, .reclaiming, grant: 1 << 32 | 5))
    try expect(
      "c19",
      ChangeAttribute(
        ContextName(ContextID(rawValue: 5)), attribute: Array("user.a".utf8),
        .create(Array("hi".utf8))))
  }

  @Test("probes of a manager, and the announcement")
  func probes() throws {
    try expect("c16", ProbeEntity(.manager(of: kernelN)))
    var announcement = try message(Fixture.named("c15").body)
    #expect(announcement.mcb.flags.contains(.datagram))
    announcement.mcb.flags.remove(.datagram)
    #expect(announcement == ProbeEntity(.manager(of: kernelS)).message)
  }

  @Test("the operations of the node server that have more than a name")
  func node() throws {
    try expect("c30", EchoSegment(answerBytes: 4096, data: Array("abc".utf8)))
    try expect(
      "c31",
      FindNode.Answer(
        server: .nodeServer(of: kernelN), host: "moa", wallClock: 0x17A0_B0C0_D0E0_F001))
    var measure = MeasureSends(target: .host("moa"), count: 1000, limitMilliseconds: 5000)
    measure.requestBytes = 1024
    measure.answerBytes = 16_384
    try expect("c32", measure)
  }

  @Test("delay, its answer, and wake up, by the co-resident qualifier")
  func time() throws {
    try expect("c22", DelayProcess(.milliseconds(1500), near: .manager(of: kernelN)))
    #expect(try parse(Fixture.named("c22").body).server == .timeGroup)
    try expect("c23", Nanoseconds(500_000_000))
    try expect("c24", WakeUp(EntityID(kernel: kernelS, discriminator: 16)))
  }

  @Test("QueryProcess")
  func queryProcess() throws {
    try expect("c25", QueryProcess(EntityID(kernel: kernelS, discriminator: 16)))
    #expect(try parse(Fixture.named("c25").body).server == .processGroup)
  }

  @Test("GroupMessage, QueryGroup and ChangeGroup, and the group of a name")
  func groups() throws {
    try expect("c40", GroupMessage(sender: "ann@kea", text: "suspend"))
    #expect(try parse(Fixture.named("c40").body).server == EntityID(groupNamed: "jobs"))
    try expect(
      "c41", GroupMessage.Answer(.noPermission, member: "moa:12.sort", words: "not yours"))
    var answer = QueryGroup.Answer(host: "kea")
    answer.madeAt = 0x17A0_B0C0_D0E0_F001
    answer.owner = "ann"
    answer.permissions = 0o755
    answer.members = [.init("ann", owner: "ann")]
    try expect("c42", answer)
    var change = ChangeGroup(.leave, "jobs", host: "moa")
    change.member = "moa:12.sort"
    change.program = EntityID(kernel: kernelS, discriminator: 18)
    try expect("c43", change)
    #expect(try parse(Fixture.named("c43").body).server == .groupManagerGroup)
  }

  @Test("the operations of program managers")
  func teams() throws {
    try expect("c33", SelectHost(.guest, excluded: ["kea"]))
    #expect(try parse(Fixture.named("c33").body).server == .programManagerGroup)
    try expect(
      "c34",
      SelectHost.Answer(
        server: EntityID(kernel: kernelN, discriminator: 16), loadThousandths: 1250, host: "moa"))
    try expect("c35", ControlTeam(EntityID(kernel: kernelN, discriminator: 17), "kill TERM"))
  }

  private func expect<Value: Operation>(_ fixture: String, _ value: Value) throws {
    let golden = try message(Fixture.named(fixture).body)
    #expect(golden.mcb.code == Value.code)
    #expect(try Value(parsing: golden) == value)
    #expect(value.message == golden)
  }

  private func expect<Value: OperationAnswer>(_ fixture: String, _ value: Value) throws {
    let golden = try message(Fixture.named(fixture).body)
    #expect(try Value(parsing: golden) == value)
    #expect(value.message == golden)
  }
}
