import Testing
import VDirectory
import VNode
import VProtocol
import VRuntime

/// One user takes as much as possible; the others still get their shares, and everything can be
/// given back.
@Suite("Attacks on shares")
struct ShareAttackTests {
  /// Opens as `who` until that is refused; returns how often it succeeded, and the refusal.
  private func flood(
    _ host: AttackedHost, as who: Who, max: Int, _ operation: (Int) -> CreateInstance
  ) -> (opened: [(InstanceID, EntityID)], refusal: ReplyCode?) {
    var opened: [(InstanceID, EntityID)] = []
    for index in 0..<max {
      let response = host.send(operation(index).message, host.directory.server, as: who)
      guard response.code.isOK,
        let answer = try? CreateInstance.Answer(parsing: response.message)
      else { return (opened, response.code) }
      opened.append((answer.instance, response.server))
    }
    return (opened, nil)
  }

  @Test(
    "of instances end with a refusal for the attacker, and without effect on others",
    arguments: ["host/kea/status", "storage/kea/open", "storage", "pipe/kea"])
  func instances(path: String) throws {
    let host = try AttackedHost()
    if path == "storage/kea/open" {
      _ = try host.open(path, [.read, .write, .create], permissions: 0o666)
    }
    let isDirectory = !path.contains("status") && !path.contains("open")
    let mode: OpenMode = isDirectory ? [.read, .directory] : .read
    let owner = host.kea.makeClient("bob")
    let (opened, refusal) = flood(host, as: .other, max: 20_000) { _ in
      CreateInstance(host.name(path), mode: mode, owner: owner)
    }
    #expect(refusal == .noServerResources, "after \(opened.count)")
    #expect(opened.count >= 1024, "a share for honest programs too")
    for who in [Who.owner, .root, .namesake] {
      let opened = try host.open(path, mode, as: who)
      #expect(
        host.send(ReleaseInstance(opened.instance).message, opened.manager, as: who).code.isOK)
    }
    // The death of the process gives everything back.
    host.kea.retire(owner)
    host.simulator.run(for: .seconds(10))
    let again = host.send(
      CreateInstance(host.name(path), mode: mode).message, host.directory.server, as: .other)
    #expect(again.code == .ok)
  }

  @Test("of pipes and groups leave some to others")
  func makers() throws {
    let host = try AttackedHost()
    let owner = host.kea.makeClient("bob")
    let (made, refusal) = flood(host, as: .other, max: 2000) { index in
      CreateInstance(
        host.name("pipe/kea/bob\(index)"), mode: [.read, .write, .create], permissions: 0o600,
        owner: owner)
    }
    #expect(refusal == .noServerResources, "after \(made.count)")
    _ = try host.open("pipe/kea/ann", [.read, .write, .create])
    var groups = 0
    var code = ReplyCode.ok
    while groups < 300 && code.isOK {
      code =
        host.send(
          AddName(host.name("group/bob\(groups)"), kind: .context, permissions: 0o755).message,
          host.directory.server, as: .other
        ).code
      groups += 1
    }
    #expect(code == .noServerResources, "after \(groups)")
    try host.done(AddName(host.name("group/anns"), kind: .context, permissions: 0o755))
  }

  @Test("of waiting requests leave some to others, and end with their process")
  func waits() throws {
    let host = try AttackedHost()
    let pipe = try host.open("pipe/kea/bobs", [.read, .write, .create], as: .other)
    var clients: [EntityID] = []
    var refused = 0
    for _ in 0..<10_000 where refused == 0 {
      let client = host.kea.makeClient(Who.other.user)
      clients.append(client)
      let code = Box<ReplyCode?>(nil)
      host.kea.send(
        ReadInstance(pipe.instance, position: 0, count: 1).message, from: client,
        to: pipe.manager, options: SendOptions()
      ) { code.value = $0.code }
      if code.value == .noServerResources { refused += 1 }
    }
    #expect(refused == 1, "after \(clients.count)")
    let own = try host.open("pipe/kea/anns", [.read, .write, .create])
    // It waits, and is not refused.
    let read = ReadInstance(own.instance, position: 0, count: 1).message
    #expect(host.send(read, own.manager).code == .userTimeout)
    let write = WriteInstance(own.instance, position: 0, data: [1]).message
    #expect(host.send(write, own.manager).code == .ok)
    for client in clients { host.kea.retire(client) }
  }
}
