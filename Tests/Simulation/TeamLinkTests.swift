import NetworkFaults
import Testing
import VDirectory
import VNode
import VProtocol
import VRuntime

@Suite("Programs by their entities")
struct TeamLinkTests {
  private let simulator = Simulator(seed: 11)
  private let kea: TeamHost
  private let moa: TeamHost

  init() {
    kea = TeamHost("kea", in: simulator)
    moa = TeamHost("moa", in: simulator)
    simulator.run(for: .seconds(12))
  }

  /// The target of a link, read on a host.
  private func target(
    of name: String, on host: TeamHost, as user: String = "ann"
  ) -> Result<String, Refusal>? {
    let path = ContextName(host.directory.nameSpace.root, Array("team/by-id/\(name)".utf8))
    switch host.ask(ReadLink(path), of: host.directory.server, as: user) {
    case .done(let answer, _): return .success(String(decoding: answer.data, as: UTF8.self))
    case .refused(let refusal): return .failure(Refusal(refusal.code, ""))
    case nil: return nil
    }
  }

  @Test("lead to where the programs are, from every host, and are listed on their own")
  func everywhere() throws {
    let (new, name) = try #require(kea.start("moa", "sleep 9"))
    let entity = try #require(kea.entity(of: "moa/\(name)"))
    for host in [kea, moa] {
      #expect(target(of: "\(entity)", on: host) == .success("../moa/\(name)"))
    }
    #expect(moa.list("team/by-id") == ["\(entity)"] && kea.list("team/by-id") == [])
    // The context beside them is not one of the hosts, and has its own place in the list.
    #expect(kea.list("") == ["team"])
    #expect(Set(kea.list("team") ?? []) == ["kea", "moa", "self", "any", "by-id"])
    new.release()
  }

  @Test("of nothing there is none, and no process is asked")
  func none() throws {
    let asked = Shared(0)
    let server = moa.node.makeServer(knowsPrincipals: true) { [node = moa.node] request in
      asked.value += 1
      node.reply(QueryTeam.Answer(host: "..", name: "x").message, to: request)
    }
    for name in ["\(server)", "BE-77-1.2.3.4", "UG-77-224.0.1.0", "BE-016-\(kea.node.id)", "x"] {
      #expect(target(of: name, on: kea) == .failure(Refusal(.notFound, "")), "\(name)")
    }
    #expect(asked.value == 0)
  }

  @Test("a manager of another host that answers nonsense leads nowhere else")
  func nonsense() throws {
    let other = simulator.start("tui")
    let program = other.makeServer(knowsPrincipals: true) { _ in }
    let answers = [("..", "x"), ("moa/..", "x"), ("moa", "../x"), ("moa", ""), ("moa", ".")]
    let (count, askers) = (Shared(0), Shared<Set<String>>([]))
    let liar = other.makeServer(knowsPrincipals: true) { request in
      let (host, name) = answers[min(count.value, answers.count - 1)]
      count.value += 1
      askers.value.insert("\(request.principal!)")
      other.reply(
        QueryTeam.Answer(host: host, name: Name(name)).message, to: request)
    }
    other.join(liar, group: .programManagerGroup)
    other.announce()
    simulator.run(for: .seconds(1))
    for answer in answers {
      #expect(target(of: "\(program)", on: kea) == .failure(Refusal(.notFound, "")), "\(answer)")
    }
    #expect(count.value == answers.count)
    // It could forward the questions, as those of their sender.
    #expect(askers.value == ["nobody@kea"])
  }

  @Test("one user's questions leave room for others'")
  func share() throws {
    simulator.faults = Faults(loss: 100)
    let refused = Shared(0)
    let clients = ClientPool(kea.node)
    for number in 20..<100 {
      let name = ContextName(
        kea.directory.nameSpace.root, Array("team/by-id/BE-\(number)-\(moa.node.id)".utf8))
      clients.send(ReadLink(name), as: "eve", to: kea.directory.server) { answer in
        if case .refused(let refusal) = answer, refusal.code == .noServerResources {
          refused.value += 1
        }
      }
    }
    simulator.run(for: .milliseconds(100))
    #expect(refused.value == 80 - 16)
    #expect(target(of: "BE-100-\(moa.node.id)", on: kea) == .failure(Refusal(.notFound, "")))
  }
}
