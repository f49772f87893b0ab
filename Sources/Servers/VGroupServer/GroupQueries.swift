import Synchronization
import VProtocol
import VRuntime

/// Asks the group servers of all hosts, and knows which there are: those that were heard lately.
///
/// When all of them have answered, a question ends. A silent group server delays one question by
/// its time limit; later ones do not wait for it until it is heard again. An answer without it says
/// so: it may have members.
///
/// A group server that has just started knows no others. It waits for the hosts in its directory,
/// longer than for others, until they are heard or have delayed one question.
final class GroupQueries: Sendable {
  private struct State: Sendable {
    /// By kernel, with the host's name.
    var known: [KernelID: String] = [:]
    /// Hosts of group servers that were heard and are silent, and since when.
    var silent: [String: Time] = [:]
    /// Hosts that existed before this group server, and have not been heard.
    var expected: Set<String> = []
    var isSettled = false

    mutating func note(_ kernel: KernelID, of host: String) {
      known[kernel] = host
      silent[host] = nil
      expected.remove(host)
    }

    /// Hosts that were expected did not answer one question: no other waits for them.
    mutating func giveUp(_ hosts: Set<String>, at now: Time) {
      for host in hosts where expected.contains(host) {
        expected.remove(host)
        noteSilent(host, at: now)
      }
    }

    mutating func lose(_ kernels: Set<KernelID>, at now: Time) {
      silent = silent.filter { now - $0.value < GroupQueries.silenceAge }
      for kernel in kernels {
        guard let host = known.removeValue(forKey: kernel) else { continue }
        // A host that was restarted has another kernel.
        if !known.values.contains(host) { noteSilent(host, at: now) }
      }
    }

    /// Of too many, the host that has been silent for longest is forgotten.
    private mutating func noteSilent(_ host: String, at now: Time) {
      silent[host] = silent[host] ?? now
      guard silent.count > GroupQueries.silentMax,
        let oldest = silent.min(by: { $0.value < $1.value })
      else { return }
      silent[oldest.key] = nil
    }
  }

  /// What other group servers have of a group.
  struct Answers: Sendable {
    var answers: [QueryGroup.Answer] = []
    /// Hosts whose group server did not answer, and may have members.
    var silent: [String] = []
  }

  private struct Asked: Sendable {
    var missing: Set<KernelID>
    var expected: Set<String>
    var answers: [QueryGroup.Answer] = []
    var heard: Set<KernelID> = []
    var isOver = false
  }

  private let backplane: any Backplane
  private let kernel: KernelID
  private let state = Mutex(State())
  /// Gets every answer about a group, also one that comes too late for its question.
  private let heard: @Sendable (Name, QueryGroup.Answer) -> Void
  private let startedAt: Time

  /// A group server that has not answered in this time, after four retransmissions, is silent.
  static let timeLimit = TimeSpan.milliseconds(200)
  /// For so long after its start a group server waits for those it has not heard, and how long.
  private static let youth = TimeSpan.seconds(10)
  private static let expectedLimit = TimeSpan.seconds(2)
  /// A host that has been silent for longer has no members that matter, and more than this number
  /// of silent hosts are not remembered: hosts choose their names themselves.
  private static let silenceAge = TimeSpan.seconds(3600)
  private static let silentMax = 64
  /// While not all group servers are known: how long to wait after the first answer.
  private static let othersLimit = TimeSpan.milliseconds(20)
  /// How long to wait for unknown group servers; the request is not yet repeated by then.
  private static let lateLimit = TimeSpan.milliseconds(8)

  init(
    _ backplane: any Backplane, kernel: KernelID,
    heard: @escaping @Sendable (Name, QueryGroup.Answer) -> Void
  ) {
    self.backplane = backplane
    self.kernel = kernel
    self.heard = heard
    startedAt = backplane.now
    // Makes this group server known to the others, and the others to it.
    ask("") { _ in }
    backplane.after(Self.timeLimit) { [weak self] in
      self?.state.withLock { $0.isSettled = true }
    }
  }

  /// Other hosts that exist, heard or not.
  func expect(_ hosts: Set<String>) {
    guard backplane.now - startedAt < Self.youth else { return }
    state.withLock { state in
      state.expected = hosts.subtracting(state.known.values).subtracting([backplane.host])
      state.isSettled = true
    }
    backplane.after(Self.youth) { [weak self] in self?.state.withLock { $0.expected = [] } }
  }

  /// Another group server has asked something.
  func note(_ kernel: KernelID, of host: String) {
    if kernel != self.kernel { state.withLock { $0.note(kernel, of: host) } }
  }

  /// Calls `done` once, with the answers of the group servers of other hosts that have the group.
  func ask(_ name: Name, _ done: @escaping @Sendable (Answers) -> Void) {
    let (known, expected, isSettled) = state.withLock { ($0.known, $0.expected, $0.isSettled) }
    let asked = Mutex(Asked(missing: Set(known.keys), expected: expected))
    let client = backplane.makeClient(user: "root")
    let finish: @Sendable () -> Void = { [self] in
      let over: Asked? = asked.withLock { asked in
        defer { asked.isOver = true }
        return asked.isOver ? nil : asked
      }
      guard let over else { return }
      done(Answers(answers: over.answers, silent: silent(over)))
      backplane.after(Self.lateLimit) { [backplane] in backplane.retire(client) }
    }
    backplane.send(
      QueryGroup(name).message, PartySend(.groupServer, to: .memory), from: client,
      to: .groupManagerGroup,
      options: SendOptions(
        timeLimit: expected.isEmpty ? Self.timeLimit : Self.expectedLimit, collectsResponses: true)
    ) { [self] response in
      guard response.server != .none else {
        let (silent, late) = asked.withLock { ($0.missing, $0.expected) }
        state.withLock { state in
          state.lose(silent, at: backplane.now)
          state.giveUp(late, at: backplane.now)
        }
        return finish()
      }
      let kernel = response.server.kernel
      guard kernel != self.kernel else { return }
      let answer = response.code.isOK ? try? QueryGroup.Answer(parsing: response.message) : nil
      // One that has no such group answers with its host's name.
      let host = answer?.host ?? String(decoding: response.message.segment, as: UTF8.self)
      guard Principal.isName(host) else { return }
      note(kernel, of: host)
      let sound = answer?.sound(about: name)
      let (isFirst, isLast) = asked.withLock { asked in
        let isFirst = asked.heard.isEmpty
        asked.missing.remove(kernel)
        asked.expected.remove(host)
        guard asked.heard.insert(kernel).inserted else { return (false, false) }
        if let sound { asked.answers.append(sound) }
        return (isFirst, asked.missing.isEmpty && asked.expected.isEmpty)
      }
      if let sound, !name.isEmpty { heard(name, sound) }
      if isSettled && isLast { return finish() }
      if isFirst && !isSettled { backplane.after(Self.othersLimit, finish) }
    }
    if isSettled && known.isEmpty && expected.isEmpty { finish() }
  }

  /// Hosts that did not answer a question, with those that are known to be silent.
  private func silent(_ asked: Asked) -> [String] {
    state.withLock { state in
      asked.expected.union(asked.missing.compactMap { state.known[$0] })
        .union(state.silent.keys).subtracting(asked.answers.map(\.host)).sorted()
    }
  }
}
