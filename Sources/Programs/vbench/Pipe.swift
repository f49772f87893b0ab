import ArgumentParser
import Glibc
import Synchronization
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v bench pipe`: what a pipe costs beside a FIFO of Linux and beside bare Sends.
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

  /// One thing that is timed, at one place; its control is that of the same place and size.
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
        PipeRow(
          what: row.name, hosts: row.isRemote ? 2 : 1, octets: row.kilobytes * 1024,
          microseconds: row.microseconds.inReply, processorTime: Samples.median(row.cpu).inReply,
          rate: rate(row, rows).rounded(places: 1))
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

/// A line of the reply.
private struct PipeRow: Encodable {
  var what: String
  var hosts: Int
  var octets: Int
  var microseconds: Double
  var processorTime: Double
  var rate: Double

  private enum CodingKeys: String, CodingKey {
    case what, hosts
    case octets = "block_octets"
    case microseconds = "us_per_block"
    case processorTime = "cpu_us_per_block"
    case rate = "rate_percent"
  }
}
