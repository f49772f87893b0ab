import Glibc
import Synchronization
import VAttach
import VCommand
import VProtocol
import VRuntime

/// A pipe with one writer and one reader, by operations of V alone.
final class BenchedPipe {
  /// A program with an end of the pipe.
  private struct End {
    var node: AttachedBackplane
    var client: EntityID
    var instance: InstanceID
  }

  private let writer: End
  private let reader: End
  private let manager: EntityID
  private let name: ContextName
  private let host: String

  init(_ host: String, writer: AttachedBackplane, reader: AttachedBackplane) throws {
    self.host = host
    let client = reader.makeClient(user: reader.user)
    let query = reader.sendAndWait(
      QueryName(ContextName(.none, Array("pipe/\(host)".utf8))), from: client,
      to: .nameHandlingGroup, options: SendOptions(timeLimit: .seconds(1)))
    guard case .done(let found, _) = query, found.kind == .context else {
      throw Failure(status: .refused, description: "bench pipe: nobody serves pipe/\(host)")
    }
    manager = found.manager
    name = ContextName(
      found.context, Array(".v-bench-\(getpid())-\(reader.random() % 1_000_000)".utf8))
    self.writer = try Self.open(
      name, [.write, .create], at: manager, writer, writer.makeClient(user: writer.user), host)
    self.reader = try Self.open(name, .read, at: manager, reader, client, host)
  }

  private static func open(
    _ name: ContextName, _ mode: OpenMode, at manager: EntityID, _ node: AttachedBackplane,
    _ client: EntityID, _ host: String
  ) throws -> End {
    let opened = node.sendAndWait(
      CreateInstance(name, mode: mode, permissions: 0o600), from: client, to: manager)
    switch opened {
    case .done(let answer, _):
      return End(node: node, client: client, instance: answer.instance)
    case .refused(let refusal): throw failure(refusal, host)
    }
  }

  private static func failure(_ refusal: Refusal, _ host: String) -> Failure {
    Failure(status: .refused, description: "bench pipe: a pipe in pipe/\(host): \(refusal)")
  }

  /// Writes so many blocks on another thread, and reads them on this one.
  func pass(_ block: [UInt8], _ count: Int) throws {
    let (writer, manager) = (writer, manager)
    let outcome = Mutex<Refusal?>(nil)
    let thread = Background.start {
      for _ in 0..<count {
        let answer = writer.node.sendAndWait(
          WriteInstance(writer.instance, position: 0, data: block), from: writer.client,
          to: manager)
        if case .refused(let refusal) = answer { return outcome.withLock { $0 = refusal } }
      }
    }
    for _ in 0..<count {
      let answer = reader.node.sendAndWait(
        ReadInstance(reader.instance, position: 0, count: block.count), from: reader.client,
        to: manager)
      guard case .done(let found, _) = answer, found.data.count == block.count else {
        throw Self.failure(Refusal(.endOfFile), host)
      }
    }
    pthread_join(thread, nil)
    if let refusal = outcome.withLock({ $0 }) { throw Self.failure(refusal, host) }
  }

  /// Bare Sends of the reader, one after another, each with that much as its answer.
  func send(to server: EntityID, answerBytes: Int, _ count: Int) throws {
    let message = EchoSegment(answerBytes: answerBytes, data: []).message
    for _ in 0..<count {
      let response = reader.node.sendAndWait(message, from: reader.client, to: server)
      if !response.code.isOK { throw Self.failure(Refusal(response.message), host) }
    }
  }

  func remove() {
    for end in [writer, reader] {
      _ = end.node.sendAndWait(ReleaseInstance(end.instance), from: end.client, to: manager)
    }
    _ = reader.node.sendAndWait(
      RemoveName(name, isContext: false), from: reader.client, to: manager)
  }
}

/// A FIFO of this host, open at both ends.
struct LinuxFIFO {
  private let path = "/tmp/.v-bench-\(getpid()).fifo"
  private let reads: Int32
  private let writes: Int32

  init() throws {
    guard mkfifo(path, 0o600) == 0 else { throw Self.failure() }
    reads = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    writes = open(path, O_WRONLY | O_CLOEXEC)
    guard reads >= 0, writes >= 0, fcntl(reads, F_SETFL, 0) == 0 else { throw Self.failure() }
  }

  private static func failure() -> Failure {
    Failure(status: .refused, description: "bench pipe: a FIFO in /tmp: \(errorText(errno))")
  }

  func pass(_ block: [UInt8], _ count: Int) throws {
    let end = writes
    let isWhole = Atomic(true)
    let thread = Background.start {
      for _ in 0..<count where write(end, block, block.count) != block.count {
        isWhole.store(false, ordering: .relaxed)
      }
    }
    var buffer = block
    for _ in 0..<count {
      var got = 0
      while got < block.count {
        let more = buffer.withUnsafeMutableBytes {
          read(reads, $0.baseAddress! + got, block.count - got)
        }
        guard more > 0 else { throw Self.failure() }
        got += more
      }
    }
    pthread_join(thread, nil)
    if !isWhole.load(ordering: .relaxed) { throw Self.failure() }
  }

  func remove() {
    close(reads)
    close(writes)
    unlink(path)
  }
}
