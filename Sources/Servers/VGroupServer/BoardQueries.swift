import Synchronization
import VProtocol
import VRuntime

/// Asks the group boards of all hosts, and knows which of them there are: whoever was heard lately.
///
/// With all of them heard a question ends at once; a board that is silent holds up one question for
/// its time limit, and is then not waited for until it is heard again.
final class BoardQueries: Sendable {
  private struct State: Sendable {
    var known: Set<KernelID> = []
    var isSettled = false
  }

  private struct Asked: Sendable {
    var missing: Set<KernelID>
    var answers: [QueryGroup.Answer] = []
    var heard: Set<KernelID> = []
    var isOver = false
  }

  private let backplane: any Backplane
  private let kernel: KernelID
  private let state = Mutex(State())
  /// Gets every answer about a group, also one that comes when nobody waits for it any more.
  private let heard: @Sendable (Name, QueryGroup.Answer) -> Void

  /// Who has not answered by then, its request repeated four times, is away.
  static let timeLimit = TimeSpan.milliseconds(200)
  /// While not all boards are known: so much longer than the first answer.
  private static let othersLimit = TimeSpan.milliseconds(20)
  /// Boards nobody knew of may still be heard; the request is not yet repeated by then.
  private static let lateLimit = TimeSpan.milliseconds(8)

  init(
    _ backplane: any Backplane, kernel: KernelID,
    heard: @escaping @Sendable (Name, QueryGroup.Answer) -> Void
  ) {
    self.backplane = backplane
    self.kernel = kernel
    self.heard = heard
    // Makes this board known, and the others to it.
    ask("") { _ in }
    backplane.after(Self.timeLimit) { [weak self] in
      self?.state.withLock { $0.isSettled = true }
    }
  }

  /// Another board has asked something.
  func note(_ kernel: KernelID) {
    if kernel != self.kernel { state.withLock { _ = $0.known.insert(kernel) } }
  }

  /// Calls `done` once, with what the boards of other hosts that have the group answered.
  func ask(_ name: Name, _ done: @escaping @Sendable ([QueryGroup.Answer]) -> Void) {
    let (known, isSettled) = state.withLock { ($0.known, $0.isSettled) }
    let asked = Mutex(Asked(missing: known))
    let client = backplane.makeClient(user: "root")
    let finish: @Sendable () -> Void = { [backplane] in
      let answers: [QueryGroup.Answer]? = asked.withLock { asked in
        defer { asked.isOver = true }
        return asked.isOver ? nil : asked.answers
      }
      guard let answers else { return }
      done(answers)
      backplane.after(Self.lateLimit) { backplane.retire(client) }
    }
    backplane.send(
      QueryGroup(name).message, from: client, to: .groupManagerGroup,
      options: SendOptions(timeLimit: Self.timeLimit, collectsResponses: true)
    ) { [self] response in
      guard response.server != .none else {
        let silent = asked.withLock { $0.missing }
        state.withLock { $0.known.subtract(silent) }
        return finish()
      }
      let kernel = response.server.kernel
      guard kernel != self.kernel else { return }
      note(kernel)
      let answer = response.code.isOK ? try? QueryGroup.Answer(parsing: response.message) : nil
      let sound = answer?.sound(about: name)
      let (isFirst, isLast) = asked.withLock { asked in
        let isFirst = asked.heard.isEmpty
        asked.missing.remove(kernel)
        guard asked.heard.insert(kernel).inserted else { return (false, false) }
        if let sound { asked.answers.append(sound) }
        return (isFirst, asked.missing.isEmpty)
      }
      if let sound, !name.isEmpty { heard(name, sound) }
      if isSettled && isLast { return finish() }
      if isFirst && !isSettled { backplane.after(Self.othersLimit, finish) }
    }
    if isSettled && known.isEmpty { finish() }
  }
}
