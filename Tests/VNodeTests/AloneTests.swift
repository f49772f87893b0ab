import Testing
import VNode
import VProtocol
import VRuntime

@Suite("A node without the cluster key")
struct AloneTests {
  @Test("has no network socket, and serves what is local")
  func noSocket() async throws {
    let machine = try LinuxMachine()
    let node = Node(host: "kea", machine: machine, secret: nil)
    machine.run(node)
    node.announce()
    let server = node.makeServer(knowsPrincipals: true) { [unowned node] request in
      node.reply(
        Message(reply: request.principal?.user == "ann" ? .ok : .noPermission), to: request)
    }
    node.join(server, group: .nodeGroup)
    let client = node.makeClient(user: "ann")
    let code = await withCheckedContinuation { continuation in
      node.send(
        Message(MessageControlBlock(code: 1)), from: client, to: .nodeGroup, options: SendOptions()
      ) { continuation.resume(returning: $0.code) }
    }
    #expect(code == .ok)
    #expect(machine.places.isEmpty)
    #expect(machine.multicastsHeard == (0, 0))
  }
}
