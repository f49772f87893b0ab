import Testing
import VProtocol

@Suite("Order of Sends")
struct SendOrderTests {
  /// A path from `party` back to itself, or nil.
  static func cycle(
    from party: String, _ sendsTo: (String) -> [String], _ path: [String] = []
  ) -> [String]? {
    if path.contains(party) { return path + [party] }
    for next in sendsTo(party) {
      if let found = cycle(from: next, sendsTo, path + [party]) { return found }
    }
    return nil
  }

  @Test("no party waits, directly or not, for itself", arguments: Party.allCases)
  func noCycle(party: Party) {
    let cycle = Self.cycle(from: party.rawValue) { name in
      Party(rawValue: name)?.sendsTo.map(\.rawValue) ?? []
    }
    #expect(cycle == nil)
  }

  @Test(
    "what every server does, each of them may do",
    arguments: [Party.fileServer, .pipeServer, .groupServer, .teamServer, .node])
  func servers(party: Party) {
    #expect(Set(party.sendsTo).isSuperset(of: Party.server.sendsTo))
  }

  @Test("a Send that the table does not have stops the process")
  func stops() async {
    await #expect(processExitsWith: .failure) { _ = PartySend(.fileServer, to: .teamServer) }
  }

  @Test("the check finds a cycle where there is one")
  func finds() {
    let table = ["a": ["b"], "b": ["c"], "c": ["a"]]
    #expect(Self.cycle(from: "a") { table[$0] ?? [] } == ["a", "b", "c", "a"])
  }
}
