import Synchronization
import VObjects
import VProtocol
import VRuntime

/// The open instances of all managers of this host, wherever they run: each is asked by a message.
final class OpenInstances: Sendable {
  private let clients: ClientPool
  private let managers: @Sendable () -> Set<EntityID>
  private let latest = Mutex("")
  private let asking = JointAsking()

  /// A manager that does not answer in this time is left out.
  private static let timeLimit = TimeSpan.seconds(1)

  init(_ backplane: any Backplane, of managers: @escaping @Sendable () -> Set<EntityID>) {
    clients = ClientPool(backplane, of: .node)
    self.managers = managers
  }

  /// The last lines of all managers: with the numbers of instances only for root of this host.
  @Sendable func text(for caller: Caller) -> String {
    caller.view(ofInstances: latest.withLock { $0 })
  }

  /// Asks all managers, once for all callers that want it, then calls `then`.
  @Sendable func ask(_ then: @escaping @Sendable () -> Void) {
    asking.join(then) { [self] answered in
      ask(managers().sorted { $0.rawValue < $1.rawValue }[...], "", from: 0) { [self] text in
        latest.withLock { $0 = text }
        answered()
      }
    }
  }

  private func ask(
    _ managers: ArraySlice<EntityID>, _ text: String, from start: UInt64, answers: Int = 0,
    _ then: @escaping @Sendable (String) -> Void
  ) {
    guard let manager = managers.first else { return then(text) }
    clients.send(
      ListInstances(from: start), as: "root", to: manager, at: .memory,
      options: SendOptions(timeLimit: Self.timeLimit)
    ) { [self] answer in
      guard case .done(let lines, _) = answer, !lines.data.isEmpty else {
        return ask(managers.dropFirst(), text, from: 0, then)
      }
      let more = text + String(decoding: lines.data, as: UTF8.self)
      guard lines.next > start, answers < Self.answersMax else {
        return ask(
          managers.dropFirst(), more + "- \(manager) lists without end\n", from: 0, then)
      }
      ask(managers, more, from: lines.next, answers: answers + 1, then)
    }
  }

  /// Twice as many as a full table of instances makes with long names.
  private static let answersMax = 2048
}
