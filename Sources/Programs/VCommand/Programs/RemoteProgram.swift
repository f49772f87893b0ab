import Synchronization
import VAttach
package import VClient
package import VProtocol
import VRuntime

/// A program on a host, and its files in `team/HOST`.
package final class RemoteProgram: Sendable {
  package let host: String
  /// `12.sort`.
  package let name: String
  package let session: Session
  /// What outlives an outage: its streams and its end.
  package let conversation: ProgramConversation
  /// The instance of `new` that holds an attached program.
  private let hold: OpenFile?
  private let isReleased = Atomic(false)

  /// What is done with a file of a program takes this long at most.
  private static let limit = TimeSpan.seconds(10)

  /// An outage is borne for `wait`, and `told` hears of it.
  package init(
    _ name: String, on host: String, _ session: Session, hold: OpenFile? = nil,
    wait: TimeSpan = TimeSpan(nanoseconds: 0),
    told: @escaping @Sendable (OutageNotice) -> Void = { _ in }
  ) {
    self.name = name
    let space = NameSpace(of: session.node.kernel)
    let place = ConversationPlace(
      session.node, user: session.user, directory: space.directory, root: space.root)
    conversation = ProgramConversation(place, host: host, program: name, limit: wait, told: told)
    self.host = host
    self.session = session
    self.hold = hold
  }

  deinit { conversation.close() }

  /// Starts a program; it runs when this returns.
  package static func start(
    _ request: RunRequest, on host: String, _ session: Session, limit: TimeSpan,
    told: @escaping @Sendable (OutageNotice) -> Void = { _ in }
  ) throws(Failure) -> RemoteProgram {
    let new: OpenFile
    do throws(Refusal) {
      new = try session.open("team/\(host)/new", [.read, .write], limit: limit)
    } catch {
      let isUnknown = error.code == .notFound
      throw Failure(
        status: .programLost,
        description: isUnknown ? "run: no host \(host) runs programs" : "run \(host): \(error)")
    }
    do throws(Refusal) {
      try new.write(request.octets, limit: limit)
      let name = String(decoding: try new.read(limit: limit).dropLast(), as: UTF8.self)
      if !request.isAttached { new.close() }
      return RemoteProgram(
        name, on: host, session, hold: request.isAttached ? new : nil,
        wait: .seconds(Int64(request.waitSeconds)), told: told)
    } catch {
      new.close()
      let program = String(decoding: request.arguments[0], as: UTF8.self)
      let status = RunStatus.ofRefusedStart(
        isNotFound: error.code == .notFound, words: error.words, program: program)
      throw Failure(
        status: Failure.Status(rawValue: status) ?? .programLost,
        description: "run: \(session.node.isAttached ? "\(error)" : Failure.nodeLost.description)")
    }
  }

  /// Whether this process started it, and it ends when this process lets go of it.
  package var isHeld: Bool { hold != nil }

  /// Lets go of an attached program, which has ended or will be.
  package func release() {
    if !isReleased.exchange(true, ordering: .relaxed) { hold?.close() }
  }

  // MARK: its files

  package func open(
    _ file: String, _ mode: OpenMode, limit: TimeSpan? = nil
  ) throws(Refusal) -> OpenFile {
    try session.open("team/\(host)/\(name)/\(file)", mode, limit: limit)
  }

  /// A small text.
  package func text(_ file: String) throws(Refusal) -> String {
    let opened = try open(file, .read, limit: Self.limit)
    defer { opened.close() }
    return String(decoding: try opened.readAll(limit: Self.limit), as: UTF8.self)
  }

  package func status() throws(Refusal) -> ProgramStatus { ProgramStatus(try text("status")) }

  /// Does what a line of `ctl` says.
  package func control(_ line: String) throws(Refusal) {
    let file = try open("ctl", .write, limit: Self.limit)
    defer { file.close() }
    try file.write(Array("\(line)\n".utf8), limit: Self.limit)
  }

  /// End of file for the program.
  package func endInput() { (try? open("in", .write, limit: Self.limit))?.close() }

  // MARK: its life

  package func waitForEnd() throws(Refusal) -> RunExit {
    try Answered.value { conversation.end($0) }
  }

  /// `out` or `err`, over outages: all of the output of a program of this process, what is kept of
  /// the output of another one.
  package func output(_ stream: String) -> ProgramOutput {
    isHeld ? conversation.output(stream) : conversation.keptOutput(stream)
  }

  /// Whether its host is silent, and that is waited for.
  package var isSilent: Bool { conversation.isSilent }
}
