import Testing
import VNode
import VProtocol
import VRecording
import VRuntime

@Suite("Trace of transactions")
struct TransactionTraceTests {
  private let node = Node(
    host: "kea", machine: FakeMachine(kernel: KernelID(0xA1B2_C301)), secret: nil)

  /// A transaction of a new client with a server of the same node.
  private func transact(_ code: UInt32, answering reply: ReplyCode? = .ok) -> EntityID {
    let server = node.makeServer(knowsPrincipals: false) { [unowned node] request in
      if let reply { node.reply(Message(reply: reply), to: request) }
    }
    let client = node.makeClient(user: "ann")
    node.send(
      Message(MessageControlBlock(code: code)), from: client, to: server, options: SendOptions()
    ) { _ in }
    return client
  }

  @Test("records nothing before it is on, and nothing new after")
  func onAndOff() {
    _ = transact(1)
    #expect(node.trace.entries.isEmpty)
    node.trace.keep(true)
    let client = transact(2)
    node.trace.keep(false)
    _ = transact(3)
    #expect(node.trace.entries.map(\.client) == [client])
    node.trace.keep(true)
    #expect(node.trace.entries.isEmpty)
  }

  @Test("has client, server, operation and result")
  func entries() {
    node.trace.keep(true)
    let clients = [transact(7), transact(8, answering: .busy), transact(9, answering: nil)]
    let entries = node.trace.entries
    #expect(entries.map(\.client) == clients)
    #expect(entries.map(\.code) == [7, 8, 9])
    #expect(entries.map { $0.end?.reply } == [.ok, .busy, nil])
    #expect(entries.allSatisfy { $0.server.kernel == node.id && $0.startedAt == node.now })
  }

  @Test("keeps the last ones, the oldest first")
  func bound() {
    node.trace.keep(true)
    let count = TransactionTrace.entriesMax + 10
    for code in 0..<count { _ = transact(UInt32(code)) }
    #expect(node.trace.entries.map(\.code) == (10..<count).map { UInt32($0) })
    #expect(node.trace.entries.allSatisfy { $0.end?.reply == .ok })
  }
}
