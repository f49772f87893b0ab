import Testing
import VKernel
import VProtocol

@Suite("Nested calls")
struct NestedCallTests {
  /// A local client asks `server`, which forwards for the 16th time, to itself.
  private func nest(_ test: inout TestKernel, from client: EntityID, by server: EntityID) {
    test.send(from: client, to: server)
    for case .invoke(var request) in test.taken() where request.client == client {
      request.forwardCount = 15
      test.kernel.forward(request, request.message, to: server, &test.step)
    }
  }

  @Test("W4: are bounded; the client beyond is told, and one that leaves makes room")
  func bounded() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    let clients = (0..<97).map { _ in test.kernel.makeClient(user: "ann") }
    for client in clients.dropLast() {
      nest(&test, from: client, by: server)
      #expect(test.completions() == [:])
    }
    // One kernel has three eighths of 256.
    nest(&test, from: clients[96], by: server)
    #expect(test.completions() == [clients[96]: .busy])
    test.kernel.retire(clients[0], &test.step)
    nest(&test, from: clients[96], by: server)
    #expect(test.completions() == [:])
  }

  @Test("W4: their entities are told from others by their number, and leave nothing")
  func numbers() {
    var test = TestKernel()
    let server = test.kernel.makeServer(.atMostOnce)
    let client = test.kernel.makeClient(user: "ann")
    var seen: Set<EntityID> = []
    for _ in 0..<3 {
      test.send(from: client, to: server)
      for case .invoke(var request) in test.taken() {
        request.forwardCount = 15
        test.kernel.forward(request, request.message, to: server, &test.step)
      }
      for case .invoke(let request) in test.taken() {
        #expect(request.client.isNested && request.forwardCount == 0)
        seen.insert(request.client)
        test.kernel.reply(Message(reply: .endOfFile), to: request, &test.step)
      }
      #expect(test.completions() == [client: .endOfFile])
    }
    #expect(seen.count == 3 && !client.isNested)
    #expect(test.kernel.entityStatus(of: nil).map(\.entity) == [server, client])
  }
}
