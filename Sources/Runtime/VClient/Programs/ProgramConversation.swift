import Synchronization
public import VProtocol
public import VRuntime

/// The environment of a conversation: a client's backplane, its user, and the root of its names.
public struct ConversationPlace: Sendable {
  public var backplane: any Backplane
  public var user: ClientUser
  public var directory: EntityID
  public var root: ContextID

  public init(
    _ backplane: any Backplane, user: ClientUser, directory: EntityID, root: ContextID
  ) {
    self.backplane = backplane
    self.user = user
    self.directory = directory
    self.root = root
  }
}

/// The streams and the end of a program on some host, for one client, over outages.
///
/// If the connection is lost for less than the conversation's limit, or the server ends and a
/// successor has the program, the conversation continues: no octet is lost or doubled, because each
/// has a number.
public final class ProgramConversation: Sendable {
  private let place: ConversationPlace
  private let path: String
  private let outage: Outage
  private let clients = Mutex<[EntityID]>([])

  /// For a program, by its name on its host.
  ///
  /// Without a limit it does not wait for lost connections.
  public init(
    _ place: ConversationPlace, host: String, program name: String,
    limit: TimeSpan = TimeSpan(nanoseconds: 0),
    told: @escaping @Sendable (OutageNotice) -> Void = { _ in }
  ) {
    self.place = place
    path = "team/\(host)/\(name)"
    outage = Outage(limit: limit, told)
  }

  /// Whether it is waiting for an outage to end.
  public var isSilent: Bool { outage.isNow }

  /// Whether a refusal says that nobody knows what became of a request, or that it found no server.
  public static func isLoss(_ code: ReplyCode) -> Bool { Outage.isLoss(code) }

  private func file(_ name: String, _ mode: OpenMode) -> LastingFile {
    let file = LastingFile(place, outage, "\(path)/\(name)", mode)
    clients.withLock { $0.append(file.client) }
    return file
  }

  /// Closes everything that is open.
  ///
  /// Neither it nor its files may be used afterwards.
  public func close() {
    for client in clients.withLock({ $0 }) { place.backplane.retire(client) }
  }

  /// `out` or `err`, from its first octet.
  public func output(_ stream: String) -> ProgramOutput {
    ProgramOutput(file(stream, .read), isWhole: true)
  }

  /// `out` or `err`, from the first octet that is kept; what is dropped before it is read is left
  /// out.
  ///
  /// Behind the end comes what the program has left behind it.
  public func keptOutput(_ stream: String) -> ProgramOutput {
    ProgramOutput(file(stream, .read), isWhole: false)
  }

  /// The program's input, for its starter: the only client that writes octets with numbers.
  public func input() -> ProgramInput { ProgramInput(file("in", .write)) }

  /// Its changes of state, as lines; a change during an outage is lost.
  public func events() -> ProgramLines { ProgramLines(file("events", .read)) }

  /// Waits for its end.
  public func end(_ completion: @escaping @Sendable (Result<RunExit, Refusal>) -> Void) {
    ProgramLines(file("wait", .read)).next { result in
      completion(
        result.flatMap { line in
          RunExit(line).map { .success($0) } ?? .failure(Refusal(.vmtpError))
        })
    }
  }
}

/// A program's output, in order.
public final class ProgramOutput: Sendable {
  private let file: LastingFile
  /// Whether no octet of it may be missing.
  private let isWhole: Bool
  /// Nil where the next octets are those that the file has next.
  private let position: Mutex<UInt64?>

  init(_ file: LastingFile, isWhole: Bool) {
    self.file = file
    self.isWhole = isWhole
    position = Mutex(isWhole ? 0 : nil)
  }

  /// The next octets; none at the end.
  ///
  /// One read at a time.
  public func read(_ completion: @escaping @Sendable (Result<[UInt8], Refusal>) -> Void) {
    let known = position.withLock { $0 }
    let position = known.map(StreamPosition.marked) ?? 0
    file.send({ ReadInstance($0, position: position, count: Message.segmentBytesMax) }) {
      [self] result in
      switch result {
      case .success(let answer): note(answer, known)
      case .failure(let refusal) where refusal.code == .outOfRange && !isWhole && known != nil:
        // What is kept begins behind it by now.
        self.position.withLock { $0 = nil }
        return read(completion)
      case .failure: break
      }
      completion(result.map(\.data))
    }
  }

  private func note(_ answer: ReadInstance.Answer, _ known: UInt64?) {
    let isEnd = answer.data.isEmpty
    position.withLock { position in
      position =
        isEnd && !isWhole ? nil : (known ?? answer.position) + UInt64(answer.data.count)
    }
  }
}

/// A program's input, written from its first octet on.
public final class ProgramInput: Sendable {
  private let file: LastingFile
  private let position = Mutex<UInt64>(0)

  init(_ file: LastingFile) { self.file = file }

  /// Writes 1 to 16,384 octets; nil once they are taken.
  ///
  /// One write at a time.
  public func write(_ octets: [UInt8], _ completion: @escaping @Sendable (Refusal?) -> Void) {
    precondition(!octets.isEmpty && octets.count <= Message.segmentBytesMax, "a message's worth")
    put(octets, completion)
  }

  /// Ends the input.
  public func end(_ completion: @escaping @Sendable (Refusal?) -> Void) { put([], completion) }

  private func put(_ octets: [UInt8], _ completion: @escaping @Sendable (Refusal?) -> Void) {
    let position = StreamPosition.marked(position.withLock { $0 })
    file.send({ WriteInstance($0, position: position, data: octets) }) { [self] result in
      switch result {
      case .success:
        self.position.withLock { $0 += UInt64(octets.count) }
        completion(nil)
      case .failure(let refusal): completion(refusal)
      }
    }
  }
}

/// A file of a program that answers one line at a time.
public final class ProgramLines: Sendable {
  private let file: LastingFile
  init(_ file: LastingFile) { self.file = file }

  /// The next line; an empty one at the end.
  ///
  /// One at a time.
  public func next(_ completion: @escaping @Sendable (Result<String, Refusal>) -> Void) {
    file.send({ ReadInstance($0, position: 0, count: Message.segmentBytesMax) }) { result in
      completion(result.map { String(decoding: $0.data, as: UTF8.self) })
    }
  }
}
