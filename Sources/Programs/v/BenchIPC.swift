import ArgumentParser
import Glibc
import VAttach
import VProtocol
import VRuntime

/// `v bench ipc`: V's Table I, the times of Sends with segments, between two hosts and in one.
struct BenchIPC: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ipc",
    abstract: "Times Sends with segments of 0 to 16 KB, as responses and as requests.",
    discussion: """
      Example: v bench ipc moa --echo 10.77.0.2:9999

      The node makes the Sends: to the other host's node, and to itself. Beside each is a plain \
      UDP echo of as many octets, measured in turn; for the other host, v bench echo (or any \
      program that does the same) has to run there. CPU is processor time of both nodes together \
      for one Send. --timeout is for each measurement.
      """)

  @Option(name: .shortAndLong, help: "How many Sends of each kind, in ten rounds.")
  var count = 2000

  @Option(
    help: ArgumentHelp("Where the other host's UDP echo is.", valueName: "address:port"))
  var echo: String?

  @OptionGroup var options: CommonOptions

  @Argument(help: ArgumentHelp("The other host.", valueName: "host"), completion: .host)
  var target: String

  private static let rounds = 10
  private static let kilobytes = [0, 1, 4, 8, 12, 16]

  func validate() throws {
    guard 10...100_000 ~= count else {
      throw ValidationError("--count takes a number from 10 to 100,000.")
    }
    try validateHost(target)
  }

  /// One line: segments of one size, in one direction, to one host.
  private struct Row {
    var kilobytes: Int
    var isResponse: Bool
    var isRemote: Bool
    var sends: [Double] = []
    var echoes: [Double] = []
    var cpu: [Double] = []

    var octets: Int { kilobytes * 1024 }
    var median: Double { Samples.median(sends) }
    var echo: Double { Samples.median(echoes) }
    /// Million octets in a second.
    var rate: Double { octets == 0 ? .nan : Double(octets) / median }

    var cells: [String] {
      [
        "\(kilobytes)", isResponse ? "response" : "request",
        isRemote ? "two" : "one", Text.decimal(median, 1), Text.decimal(rate, 0),
        Text.decimal(Samples.median(cpu), 1), Text.decimal(echo, 1),
        Text.decimal(median / echo, 2),
      ]
    }

    var json: JSON {
      .object([
        ("octets", .integer(octets)), ("as", .string(isResponse ? "response" : "request")),
        ("hosts", .integer(isRemote ? 2 : 1)), ("p50_us", .decimal(median)),
        ("mb_per_s", .decimal(rate, 1)), ("cpu_us", .decimal(Samples.median(cpu))),
        ("udp_echo_us", .decimal(echo)), ("ratio", .decimal(median / echo)),
      ])
    }
  }

  func run() throws {
    let node = try options.attach()
    defer { node.close() }
    let other = try options.find(target, on: node, "bench ipc")
    // The echo of this host: a thread of this process, which ends with it.
    guard let local = UDPEcho.server("127.0.0.1", 0) else {
      throw Failure(status: .refused, description: "bench ipc: \(Prober.reason(errno))")
    }
    Background.run { UDPEcho.serve(local) }
    var rows = Self.kilobytes.flatMap { size in
      [true, false].flatMap { isResponse in
        [true, false].map { Row(kilobytes: size, isResponse: isResponse, isRemote: $0) }
      }
    }.filter { $0.kilobytes > 0 || $0.isResponse }
    var near = try UDPEcho("127.0.0.1:\(UDPEcho.port(of: local))")
    var far = try echo.map { try UDPEcho($0) }
    for _ in 0..<Self.rounds {
      for index in rows.indices {
        let server = rows[index].isRemote ? other : EntityID.nodeServer(of: node.kernel)
        try measure(&rows[index], server, node)
        let there = rows[index].isResponse ? 0 : rows[index].octets
        let back = rows[index].isResponse ? rows[index].octets : 0
        let each = max(1, count / Self.rounds)
        var samples = Samples()
        if rows[index].isRemote {
          samples.add(try far?.measure(each, requestBytes: there, answerBytes: back) ?? [])
        } else {
          samples.add(try near.measure(each, requestBytes: there, answerBytes: back))
        }
        rows[index].echoes.append(samples.median)
      }
    }
    show(rows, node.host)
  }

  /// One round of Sends.
  private func measure(_ row: inout Row, _ server: EntityID, _ node: AttachedBackplane) throws {
    var operation = MeasureSends(
      target: .entity(server), count: UInt32(max(1, count / Self.rounds)),
      limitMilliseconds: UInt32(options.timeoutMilliseconds))
    operation.requestBytes = row.isResponse ? 0 : row.octets
    operation.answerBytes = row.isResponse ? row.octets : 0
    let before = try ProcessorTime.now(options, node, server.kernel)
    let result = try options.measure(operation, on: node, "bench ipc \(target)")
    let spent = try ProcessorTime.now(options, node, server.kernel) - before
    guard result.code != .userTimeout else {
      throw options.timeLimitReached("bench ipc \(target)", Int(operation.count))
    }
    guard result.lost == 0 else {
      throw Failure(status: .refused, description: "bench ipc \(target): \(result.code)")
    }
    row.sends.append(Double(result.median) / 1000)
    row.cpu.append((spent.here + spent.there) / Double(result.count))
  }

  private func show(_ rows: [Row], _ host: String) {
    guard !options.json else {
      return options.sayRows(rows.map(\.json), bench: "ipc", on: host, target, count)
    }
    say(
      Text.table(
        [["KB", "AS", "HOSTS", "SEND US", "MB/S", "CPU US", "UDP US", "RATIO"]]
          + rows.map(\.cells)
      ).joined(separator: "\n"))
    if echo == nil { say("v: no UDP echo of two hosts: give --echo", to: 2) }
  }
}
