import Glibc
import Synchronization
import VAttach
import VClient
import VProtocol
import VRuntime

/// A program on a host, and its files in `team/HOST`.
final class RemoteProgram: Sendable {
  let host: String
  /// `12.sort`.
  let name: String
  private let node: AttachedBackplane
  /// What outlives an outage: its streams and its end.
  private let conversation: ProgramConversation
  /// The instance of `new` that holds an attached program.
  private let hold: OpenObject?
  private let isReleased = Atomic(false)
  private let ended = Mailbox<Result<RunExit, Refusal>>()
  /// Why a stream could not be copied.
  private let failure = Mutex<Refused?>(nil)

  /// An outage is borne for `wait`, and `told` hears of it.
  init(
    _ name: String, on host: String, _ node: AttachedBackplane, hold: OpenObject? = nil,
    wait: TimeSpan = TimeSpan(nanoseconds: 0),
    told: @escaping @Sendable (OutageNotice) -> Void = { _ in }
  ) {
    self.name = name
    let place = ConversationPlace(
      node, user: ClientUser(own: node.user),
      directory: EntityID(kernel: node.kernel, discriminator: EntityID.directoryDiscriminator),
      root: Names.root)
    conversation = ProgramConversation(place, host: host, program: name, limit: wait, told: told)
    self.host = host
    self.node = node
    self.hold = hold
  }

  deinit { conversation.close() }

  /// Starts a program; it runs when this returns.
  static func start(
    _ request: RunRequest, on host: String, _ node: AttachedBackplane, limit: TimeSpan,
    told: @escaping @Sendable (OutageNotice) -> Void = { _ in }
  ) throws(Failure) -> RemoteProgram {
    let new: OpenObject
    do throws(Refused) {
      new = try OpenObject("team/\(host)/new", [.read, .write], Conversation(node), limit: limit)
    } catch {
      let isUnknown = error.code == .notFound
      throw Failure(
        status: .programLost,
        description: isUnknown ? "run: no host \(host) runs programs" : "run \(host): \(error)")
    }
    do throws(Refused) {
      try new.write(request.octets, limit: limit)
      let name = String(decoding: try new.read(limit: limit).dropLast(), as: UTF8.self)
      return RemoteProgram(
        name, on: host, node, hold: request.isAttached ? new : nil,
        wait: .seconds(Int64(request.waitSeconds)), told: told)
    } catch {
      let program = String(decoding: request.arguments[0], as: UTF8.self)
      let status = RunStatus.ofRefusedStart(
        isNotFound: error.code == .notFound, words: error.words, program: program)
      throw Failure(
        status: Failure.Status(rawValue: status) ?? .programLost,
        description: "run: \(node.isAttached ? "\(error)" : Failure.nodeLost.description)")
    }
  }

  // MARK: its files

  func open(_ file: String, _ mode: OpenMode, limit: TimeSpan? = nil) throws(Refused) -> OpenObject
  {
    try OpenObject("team/\(host)/\(name)/\(file)", mode, Conversation(node), limit: limit)
  }

  /// A small text.
  func text(_ file: String) throws(Refused) -> String {
    let opened = try open(file, .read, limit: Self.limit)
    defer { opened.release() }
    return String(decoding: try opened.readAll(limit: Self.limit), as: UTF8.self)
  }

  func status() throws(Refused) -> ProgramStatus { ProgramStatus(try text("status")) }

  /// Does what a line of `ctl` says.
  func control(_ line: String) throws(Refused) {
    let file = try open("ctl", .write, limit: Self.limit)
    defer { file.release() }
    try file.write(Array("\(line)\n".utf8), limit: Self.limit)
  }

  /// End of file for the program.
  func endInput() { (try? open("in", .write, limit: Self.limit))?.release() }

  /// Says on standard error if the program does not run where this process does.
  func tellDirectory(wanted: [UInt8]?) {
    guard let status = try? status() else { return }
    var notice = status.notice(host: host)
    // It has a directory that is the same one, by another path.
    if let wanted, notice == nil, let directory = status["directory"],
      directory != String(decoding: wanted, as: UTF8.self)
    {
      notice = "running in \(directory)"
    }
    guard let notice else { return }
    // A raw terminal has to be told to go back.
    say(isatty(2) == 1 ? "\rv: \(notice)\r" : "v: \(notice)", to: 2)
  }

  /// Lets go of an attached program, which has ended or will be.
  func release() {
    if !isReleased.exchange(true, ordering: .relaxed) { hold?.release() }
  }

  private static let limit = TimeSpan.seconds(10)

  // MARK: its life

  /// Copies its output to this process's own until it has ended; with a terminal there is one
  /// stream.
  func attend(_ terminal: Terminal?) throws(Failure) -> RunExit {
    var err: (@Sendable ([UInt8]) -> Void)?
    if terminal == nil { err = { Own.write($0, to: 2, nil) } }
    return try attend(out: { Own.write($0, to: 1, terminal) }, err: err)
  }

  /// Copies its output until it has ended and everything is written.
  ///
  /// Without `err` that stream is not read.
  func attend(
    out: @escaping @Sendable ([UInt8]) -> Void, err: (@Sendable ([UInt8]) -> Void)?
  ) throws(Failure) -> RunExit {
    var copies = [Background.start { [self] in copy("out", out) }]
    if let err { copies.append(Background.start { [self] in copy("err", err) }) }
    do throws(Refused) {
      conversation.end { [ended] in ended.put($0) }
      let end: RunExit
      switch ended.wait() {
      case .success(let found): end = found
      case .failure(let refusal): throw Refused(refusal)
      }
      for thread in copies { pthread_join(thread, nil) }
      if let refused = failure.withLock({ $0 }) { throw refused }
      return end
    } catch {
      let why = node.isAttached ? "\(host)/\(name): \(error)" : Failure.nodeLost.description
      throw Failure(status: .programLost, description: why)
    }
  }

  func waitForEnd() throws(Refused) -> RunExit {
    try Answered.value { conversation.end($0) }
  }

  /// Whether its host is silent, and that is waited for.
  var isSilent: Bool { conversation.isSilent }

  func input() -> ProgramInput { conversation.input() }
  func events() -> ProgramLines { conversation.events() }

  /// `out` or `err`, over outages: of a program of this process all of it, of another one what is
  /// kept of it.
  func output(_ stream: String) -> ProgramOutput {
    hold != nil ? conversation.output(stream) : conversation.keptOutput(stream)
  }

  private func copy(_ stream: String, _ sink: @Sendable ([UInt8]) -> Void) {
    let output = output(stream)
    do throws(Refused) {
      while true {
        let octets = try Answered.value { output.read($0) }
        if octets.isEmpty { return }
        sink(octets)
      }
    } catch {
      failure.withLock { $0 = $0 ?? error }
      // Its output would be lost: it ends, and that is waited for.
      release()
      // One that is not this process's goes on, and is no more looked at.
      if hold == nil { ended.put(.failure(Refusal(error.code, error.words))) }
    }
  }
}

/// Lines of output with the host's name before each; a write has whole lines.
final class PrefixedOutput: Sendable {
  private let prefixer: Mutex<LinePrefixer>
  private let descriptor: Int32

  init(_ host: String, _ descriptor: Int32) {
    prefixer = Mutex(LinePrefixer("\(host): "))
    self.descriptor = descriptor
  }

  func write(_ octets: [UInt8]) { emit(prefixer.withLock { $0.take(octets) }) }
  func finish() { emit(prefixer.withLock { $0.finish() }) }

  private func emit(_ octets: [UInt8]) {
    if !octets.isEmpty { Own.write(octets, to: descriptor, nil) }
  }
}
