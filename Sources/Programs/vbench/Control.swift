import VAttach
import VCommand
import VProtocol
import VRuntime

/// What the first V timed of its processes, by messages: suspending, resuming and destroying one;
/// creating one is `start`.
extension BenchRun {
  private static let kinds = ["suspend", "resume", "destroy"]

  /// Each is one Send to the manager of the program's host; a destroyed program's end is known.
  func controls(_ session: Session) throws -> [Row] {
    let hosts = [session.node.host, target == "self" ? session.node.host : target]
    var samples = [[Samples]](repeating: [Samples(), Samples()], count: Self.kinds.count)
    let client = session.node.makeClient(user: session.node.user)
    defer { session.node.retire(client) }
    for _ in 0..<count {
      for (index, host) in hosts.enumerated() {
        let program = try start(["sleep", "60"], on: host, session)
        defer { program.release() }
        guard let entity = try program.status()["entity"].flatMap({ EntityID($0) }) else {
          throw Failure(status: .programLost, description: "bench run: \(host): no entity")
        }
        for (kind, line) in ["suspend", "resume", "kill KILL"].enumerated() {
          let begin = session.node.now
          let answer = session.node.sendAndWait(
            ControlTeam(entity, line), from: client, to: .programManagerGroup,
            options: SendOptions(timeLimit: .milliseconds(options.timeoutMilliseconds)))
          if case .refused(let refusal) = answer {
            throw Failure(status: .refused, description: "bench run: \(line): \(refusal)")
          }
          if kind == 2 { _ = try program.waitForEnd() }
          samples[kind][index].add(session.node.now - begin)
        }
      }
    }
    return Self.kinds.enumerated().flatMap { kind, name in
      let times = samples[kind].map { $0.median / 1000 }
      return [
        Row(name: "\(name) \(hosts[0])", value: times[0], unit: "ms"),
        Row(
          name: "\(name) \(hosts[1])", value: times[1], unit: "ms", control: times[0],
          note: "to \(name) at home"),
      ]
    }
  }
}
