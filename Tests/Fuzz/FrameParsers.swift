import VAttach
import VKeeping
import VProtocol
import VRuntime
import VStore

/// The frames of the local sockets: between a node and a process, and between a node and a keeper.
extension Parser {
  static let attach = Parser(name: "AttachFrame") { bytes in
    guard let frame = try? AttachFrame(parsing: bytes.span.bytes) else { return .refused }
    // Parsing accepts exactly what `emit` writes.
    return emit(frame) == bytes ? .parsed : .broken
  }

  static let keeper = Parser(name: "KeeperFrame") { bytes in
    var assembly = FrameAssembly()
    _ = try? assembly.take(bytes)
    guard let frame = try? KeeperFrame(parsing: bytes) else { return .refused }
    return (try? KeeperFrame(parsing: frame.octets)) == frame ? .parsed : .broken
  }

  static func emit(_ frame: AttachFrame) -> [UInt8] {
    var octets = [UInt8](repeating: 0xAA, count: frame.byteCount)
    var span = octets.mutableSpan
    var raw = span.mutableBytes
    _ = frame.emit(into: &raw)
    return octets
  }

  static let attachSamples: [[UInt8]] = {
    let client = EntityID(kernel: KernelID(1), discriminator: 17)
    let message = Message(MessageControlBlock(code: 0x1203), segment: [1, 2, 3])
    let name = AttachFrame.RequestName(
      client: client, transaction: TransactionID(7), server: client, forwardCount: 3)
    let frames: [AttachFrame] = [
      .makeClient(token: 1, "ann"), .makeServer(token: 2, knowsPrincipals: true),
      .join(token: 3, server: client, group: .managerGroup), .retire(client),
      .datagram(message, client: client, server: .managerGroup), .reply(message, to: name),
      .forward(message, name, to: client), .made(token: 4, client),
      .refused(token: 5, .noPermission),
    ]
    return frames.map(emit)
  }()

  static let keeperSamples: [[UInt8]] = {
    let order = ProgramOrder(
      name: "sort", arguments: [Array("sort".utf8), []], environment: [Array("A=b".utf8)],
      directory: Array("/srv".utf8), user: "ann", starter: "ann@kea", programClass: .guest,
      terminal: TerminalSize(rows: 24, columns: 80), isAttached: true)
    let frames: [KeeperFrame] = [
      .start(
        KeeperOrder(
          program: order, uid: 2001, gid: 2002, groups: [1, 2], home: Array("/home".utf8),
          resources: HostResources(
            mechanism: .nice, cgroup2: "", cgroup1Processor: "", groupPrefix: "v."),
          directory: "/run/v/team", outlivesServer: true)),
      .read(token: 1, .out, position: 1 << 33, count: 99), .cancel(token: 3),
      .write(token: 5, position: 7, [1, 2]), .endInput, .hangUp, .forget,
      .control(token: 10, .kill(signal: 15), asUser: true), .noteGroups(["jobs"]),
      .look(token: 3, .input, waits: true), .refused(Refusal(.notFound, "no such program")),
      .output(token: 11, .octets([1, 2, 3], position: 1 << 40)), .taken(token: 7, .brokenPipe),
      .controlled(token: 9, Refusal(.notFound, "no")), .emptied(processorMilliseconds: 8),
      .changed(.exited(3), at: 5, processorMilliseconds: 6),
    ]
    return frames.map(\.octets)
  }()
}
