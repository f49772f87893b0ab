import ArgumentParser
import Glibc
import Synchronization
import VAttach
import VProtocol
import VRuntime

/// `v bench pipe`: the cost of a pipe, beside a FIFO of Linux and bare Sends.
struct BenchPipe: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pipe",
    abstract: "Times blocks through a pipe, beside a FIFO of this host and beside bare Sends.",
    discussion: """
      Example: v bench pipe moa

      A block goes in by one Send, of a writer, and comes out by another one, of a reader: two \
      programs of this host, attached to the node, each with one Send under way, and the pipe is \
      in pipe/HOST or here. The control on one host is a FIFO of Linux with a writer and a reader; \
      on two hosts it is one Send after another with a block as the answer. RATE is blocks a \
      second in percent of the control's: V's own pipes had 84 at 1 KB between hosts.
      """)

  @Option(name: .shortAndLong, help: "How many blocks of each kind, in twenty rounds.")
  var count = 4000

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("The other host; it serves pipe/HOST.", valueName: "host"),
    completion: .host)
  var target: String

  private static let rounds = 20

  func validate() throws {
    guard 100...1_000_000 ~= count else {
      throw ValidationError("--count takes a number from 100 to 1,000,000.")
    }
    try validateHost(target)
  }

  /// One measurement at one host; its control has the same host and size.
  private struct Row {
    var name: String
    var isControl: Bool
    var isRemote: Bool
    var kilobytes: Int
    var means: [Double] = []
    var cpu: [Double] = []

    var microseconds: Double { Samples.median(means) }
  }

  func run() throws {
    let (node, writer) = (try options.attach(), try options.attach())
    defer {
      writer.close()
      node.close()
    }
    let other = try options.find(target, on: node, "bench pipe")
    let host = target == "self" ? node.host : target
    let far = try BenchedPipe(host, writer: writer, reader: node)
    defer { far.remove() }
    let near = try BenchedPipe(node.host, writer: writer, reader: node)
    defer { near.remove() }
    let fifo = try LinuxFIFO()
    defer { fifo.remove() }
    var rows = [1, 16].flatMap { size in
      [
        Row(name: "pipe", isControl: false, isRemote: true, kilobytes: size),
        Row(name: "bare Send", isControl: true, isRemote: true, kilobytes: size),
        Row(name: "pipe", isControl: false, isRemote: false, kilobytes: size),
        Row(name: "FIFO", isControl: true, isRemote: false, kilobytes: size),
      ]
    }
    let each = count / Self.rounds
    for _ in 0..<Self.rounds {
      for index in rows.indices {
        let row = rows[index]
        let block = [UInt8](repeating: 0x56, count: row.kilobytes * 1024)
        let before = try ProcessorTime.now(options, node, other.kernel)
        let start = node.now
        if !row.isControl {
          try (row.isRemote ? far : near).pass(block, each)
        } else if row.isRemote {
          try far.send(to: other, answerBytes: block.count, each)
        } else {
          try fifo.pass(block, each)
        }
        let span = node.now - start
        let spent = try ProcessorTime.now(options, node, other.kernel) - before
        rows[index].means.append(Double(span.nanoseconds) / 1000 / Double(each))
        rows[index].cpu.append((spent.here + spent.there + spent.process) / Double(each))
      }
    }
    show(rows, node.host)
  }

  /// Blocks a second, in percent of the control's.
  private func rate(_ row: Row, _ rows: [Row]) -> Double {
    let control = rows.first {
      $0.isControl && $0.isRemote == row.isRemote && $0.kilobytes == row.kilobytes
    }
    return (control?.microseconds ?? .nan) / row.microseconds * 100
  }

  private func show(_ rows: [Row], _ host: String) {
    guard !options.json else {
      let lines = rows.map { row in
        JSON.object([
          ("what", .string(row.name)), ("hosts", .integer(row.isRemote ? 2 : 1)),
          ("block_octets", .integer(row.kilobytes * 1024)),
          ("us_per_block", .decimal(row.microseconds)),
          ("cpu_us_per_block", .decimal(Samples.median(row.cpu))),
          ("rate_percent", .decimal(rate(row, rows), 1)),
        ])
      }
      return options.sayRows(lines, bench: "pipe", on: host, target, count)
    }
    let cells = rows.map { row in
      [
        row.name, row.isRemote ? "two" : "one", "\(row.kilobytes)",
        Text.decimal(row.microseconds, 1), Text.decimal(Samples.median(row.cpu), 1),
        Text.decimal(Double(row.kilobytes * 1024) / row.microseconds, 1),
        Text.decimal(rate(row, rows), 0),
      ]
    }
    say(
      Text.table([["BLOCKS", "HOSTS", "KB", "US", "CPU US", "MB/S", "RATE"]] + cells)
        .joined(separator: "\n"))
  }
}

/// A pipe with one writer and one reader, by V's operations only.
private final class BenchedPipe {
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
    case .refused(let code): throw failure(code, host)
    }
  }

  private static func failure(_ code: ReplyCode, _ host: String) -> Failure {
    Failure(status: .refused, description: "bench pipe: a pipe in pipe/\(host): \(code)")
  }

  /// Writes this many blocks on another thread, and reads them on this one.
  func pass(_ block: [UInt8], _ count: Int) throws {
    let (writer, manager) = (writer, manager)
    let outcome = Mutex(ReplyCode.ok)
    let thread = Background.start {
      for _ in 0..<count {
        let answer = writer.node.sendAndWait(
          WriteInstance(writer.instance, position: 0, data: block), from: writer.client,
          to: manager)
        if case .refused(let code) = answer { return outcome.withLock { $0 = code } }
      }
    }
    for _ in 0..<count {
      let answer = reader.node.sendAndWait(
        ReadInstance(reader.instance, position: 0, count: block.count), from: reader.client,
        to: manager)
      guard case .done(let found, _) = answer, found.data.count == block.count else {
        throw Self.failure(.endOfFile, host)
      }
    }
    pthread_join(thread, nil)
    let code = outcome.withLock { $0 }
    if !code.isOK { throw Self.failure(code, host) }
  }

  /// Bare Sends of the reader, one after another, with answers of this size.
  func send(to server: EntityID, answerBytes: Int, _ count: Int) throws {
    let message = EchoSegment(answerBytes: answerBytes, data: []).message
    for _ in 0..<count {
      let response = reader.node.sendAndWait(message, from: reader.client, to: server)
      if !response.code.isOK { throw Self.failure(response.code, host) }
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
private struct LinuxFIFO {
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
    Failure(status: .refused, description: "bench pipe: a FIFO in /tmp: \(Prober.reason(errno))")
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
