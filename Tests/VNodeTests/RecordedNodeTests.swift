import Replaying
import Synchronization
import Testing
import VNode
import VProtocol
import VRuntime

/// What a node with sockets and threads records.
private final class Recording: Sendable {
  private let state = Mutex<[UInt8]>([])
  var octets: [UInt8] { state.withLock { $0 } }

  func take(_ record: [UInt8]) -> Bool {
    state.withLock {
      $0 += record
      return $0.count < 64 << 20
    }
  }
}

@Suite("Recordings of nodes on sockets")
struct RecordedNodeTests {
  private let recordings = [Recording(), Recording()]
  private let nodes: [Node]

  init() throws {
    // So that other test runs on this machine are not heard.
    let groupPort = UInt16.random(in: 20_000...32_000)
    nodes = try zip(["kea", "moa"], recordings).map { host, recording in
      let machine = try LinuxMachine(
        named: IPAddress(ipv4: 0x7F00_0001), port: 0, groupPort: groupPort)
      let node = Node(
        host: host, machine: machine, secret: SealedHost.secret, recorder: recording.take)
      machine.run(node)
      node.announce()
      return node
    }
  }

  /// Sends one request after another; true if all of them were answered with their segment.
  private static func ask(
    _ server: EntityID, from client: EntityID, of node: Node, count: Int, bytes: Int
  ) async -> Bool {
    for number in 0..<count {
      let segment = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: bytes)
      let answer = await withCheckedContinuation { continuation in
        node.send(
          Message(MessageControlBlock(code: 0x7701), segment: segment), from: client, to: server,
          options: SendOptions()
        ) { continuation.resume(returning: $0.message) }
      }
      guard answer.reply.isOK, answer.segment == segment else { return false }
    }
    return true
  }

  @Test("what entered kernels on sockets and threads makes fresh kernels do the same")
  func replays() async throws {
    let (kea, moa) = (nodes[0], nodes[1])
    let last = moa.makeServer(knowsPrincipals: true) { [unowned moa] request in
      moa.reply(Message(MessageControlBlock(), segment: request.message.segment), to: request)
    }
    let first = kea.makeServer(knowsPrincipals: true) { [unowned kea] request in
      kea.forward(request, request.message, to: last)
    }
    let count = 100
    let answered = await withTaskGroup(of: Bool.self) { group in
      for (server, bytes) in [(last, 0), (last, 5000), (first, 80), (first, 16_384)] {
        let client = kea.makeClient(user: "ann")
        group.addTask {
          await Self.ask(server, from: client, of: kea, count: count, bytes: bytes)
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(answered == [true, true, true, true])
    for recording in recordings {
      var replay = try Replay(recording.octets)
      while try replay.next() != nil {}
      #expect(replay.count > 12 * count)
    }
  }
}
