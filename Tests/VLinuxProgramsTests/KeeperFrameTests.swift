import Testing
import VKeeping
import VLinuxPrograms
import VProtocol
import VStore

@Suite("Keeper frame")
struct KeeperFrameTests {
  static let order = ProgramOrder(
    name: "sort", arguments: [Array("sort".utf8), [], [0xFF, 0x0A]],
    environment: [Array("A=b".utf8)], directory: Array("/srv".utf8), user: "ann",
    starter: "ann@kea", isStarterFullRoot: true, programClass: .guest,
    terminal: TerminalSize(rows: 24, columns: 80), umask: 0o27, isAttached: true,
    waitSeconds: 60)

  static let keeperOrder = KeeperOrder(
    program: order, uid: 2001, gid: 2002, groups: [1, 2, 3], home: Array("/srv/home/ann".utf8),
    resources: HostResources(
      mechanism: .cgroup1, cgroup2: "/sys/fs/cgroup/unified",
      cgroup1Processor: "/sys/fs/cgroup/cpu",
      groupPrefix: "v.7."), directory: "/run/v/team", outlivesServer: true)

  static let states: [ProgramState] = [
    .running, .stopped, .suspended, .exited(0), .exited(255), .killed(signal: 9),
  ]

  static let commands: [ProgramCommand] = [
    .suspend, .resume, .kill(signal: 15), .setClass(.foreground), .setClass(.background),
    .setSize(TerminalSize(rows: 1, columns: 65_535)),
  ]

  static let reads: [StreamRead] = [
    .octets([1, 2, 3], position: 1 << 40), .end, .cancelled, .lost,
  ]

  /// Every kind, with every field that it has set.
  static var samples: [KeeperFrame] {
    let refusal = Refusal(.notFound, "no such program: x")
    var frames: [KeeperFrame] = [
      .start(keeperOrder),
      .start(
        KeeperOrder(
          program: ProgramOrder(name: "", arguments: [], user: "", starter: ""), uid: 0, gid: 0,
          groups: [], home: [],
          resources: HostResources(
            mechanism: .nice, cgroup2: "", cgroup1Processor: "", groupPrefix: ""),
          directory: "", outlivesServer: false)),
      .read(token: 1, .out, position: 1 << 33, count: 16_384),
      .read(token: 2, .err, position: 0, count: 1), .cancel(token: 3),
      .write(token: 4, position: nil, []),
      .write(token: 5, position: 1 << 40, [UInt8](repeating: 7, count: KeeperFrame.dataBytesMax)),
      .endInput, .hangUp,
      .forget, .refused(refusal), .taken(token: 6, .ok), .taken(token: 7, .brokenPipe),
      .controlled(token: 8, nil), .controlled(token: 9, refusal),
    ]
    frames += commands.flatMap { command in
      [true, false].map { .control(token: 10, command, asUser: $0) }
    }
    frames += reads.map { .output(token: 11, $0) }
    for place in [.input, .output(.out, from: 1 << 40), .output(.err, from: 0)] as [ProgramPlace] {
      frames += [true, false].map { .look(token: 12, place, waits: $0) }
    }
    frames += ProgramLook.allCases.map { .looked(token: 13, $0) }
    frames += states.map { .changed($0, at: -1, processorMilliseconds: 1 << 35) }
    frames += [.noteGroups([]), .noteGroups(["job", Name([0xFF, 0x80])])]
    frames.append(.emptied(processorMilliseconds: 1 << 36))
    frames += states.map {
      .program(
        KeptStatus(
          order: order, pid: 17, initPid: 16, directory: [0x2F], startedAt: 1 << 60, endedAt: 5,
          state: $0, isEmpty: $0.isEnd, terminal: TerminalSize(rows: 2, columns: 3),
          processorMilliseconds: 6))
    }
    return frames
  }

  @Test("what is written is read, and nothing less or more")
  func roundTrip() {
    for frame in Self.samples {
      let octets = frame.octets
      #expect((try? KeeperFrame(parsing: octets)) == frame)
      #expect((try? KeeperFrame(parsing: octets + [0])) == nil)
      for count in 0..<min(octets.count, 400) {
        #expect((try? KeeperFrame(parsing: Array(octets[..<count]))) == nil)
      }
    }
  }

  @Test("octets that are not a frame are refused, and a frame is parsed exactly")
  func changedOctets() {
    for frame in Self.samples where frame.octets.count < 400 {
      let octets = frame.octets
      for index in octets.indices {
        for value in [0, 1, 0x7F, 0xFF] as [UInt8] {
          var changed = octets
          changed[index] = value
          guard let parsed = try? KeeperFrame(parsing: changed) else { continue }
          #expect(parsed.octets == changed)
        }
      }
    }
  }

  @Test("the largest order fits a frame")
  func largest() {
    for count in [0, 1, 131_071] {
      var order = Self.keeperOrder
      order.program.environment = []
      order.program.arguments = [[UInt8]](
        repeating: [UInt8](repeating: 65, count: count),
        count: ProgramOrder.octetsMax / (count + 9))
      #expect(order.program.octetCount <= ProgramOrder.octetsMax)
      check(&order)
    }
  }

  private func check(_ order: inout KeeperOrder) {
    order.program.directory = [UInt8](repeating: 65, count: 4095)
    order.home = order.program.directory
    order.groups = [UInt32](repeating: 1, count: KeeperOrder.groupsMax)
    let frame = KeeperFrame.start(order)
    #expect((try? KeeperFrame(parsing: frame.octets)) == frame)
    var assembly = FrameAssembly()
    var found: [KeeperFrame] = []
    for packet in frame.packets {
      #expect(packet.count <= KeeperFrame.packetBytesMax && found.isEmpty)
      if let whole = try? assembly.take(packet) { found.append(whole) }
    }
    #expect(found == [frame])
    #expect((try? assembly.take(KeeperFrame.hangUp.octets)) == .hangUp)
  }

  @Test("pieces with another frame in between, or too many pieces, are refused")
  func pieces() throws {
    let piece = [4, 64, 1] + [UInt8](repeating: 0, count: KeeperFrame.packetBytesMax - 3)
    var assembly = FrameAssembly()
    #expect(try assembly.take(piece) == nil)
    #expect(throws: WireError.self) { try assembly.take(KeeperFrame.hangUp.octets) }
    for _ in 1..<KeeperFrame.byteCountMax / (piece.count - 3) {
      #expect(try assembly.take(piece) == nil)
    }
    #expect(throws: WireError.self) { try assembly.take(piece) }
  }
}
