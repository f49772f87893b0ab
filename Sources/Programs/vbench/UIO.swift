import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v bench uio`: V's Table II, the cost of reading a file above that of its messages.
struct BenchUIO: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "uio",
    abstract: "Times reading a file octet by octet and block by block, beside bare Sends.",
    discussion: """
      Example: v bench uio moa

      For 1 KB: get-byte is the work of taking the octets one by one from a block that is there; \
      bytes reads a file so, block after block; blocks reads the blocks alone; bare IPC is a Send \
      whose answer has 1 KB. Then the same with blocks of 16 KB. All is done by this process, \
      attached to the node, on a file that it makes in storage/HOST and removes.
      """)

  @Option(name: .shortAndLong, help: "How many blocks of each kind, in twenty rounds.")
  var count = 1000

  @Option(
    help: ArgumentHelp("Where the other host's UDP echo is.", valueName: "address:port"))
  var echo: String?

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("The other host; it serves storage/HOST.", valueName: "host"),
    completion: .host)
  var target: String

  private static let rounds = 20

  func validate() throws {
    guard 20...100_000 ~= count else {
      throw ValidationError("--count takes a number from 20 to 100,000.")
    }
    try validateHost(target)
  }

  /// One thing that is timed, at one place.
  private struct Row: Encodable {
    var name: String
    var isRemote: Bool
    var kilobytes: Int
    var medians: [Double] = []
    var cpu: [Double] = []

    /// Microseconds for 1 KB.
    var perKilobyte: Double { Samples.median(medians) / Double(kilobytes) }

    private enum CodingKeys: String, CodingKey {
      case name = "what"
      case hosts
      case octets = "block_octets"
      case perKilobyte = "us_per_kb"
      case processorTime = "cpu_us_per_kb"
    }

    func encode(to encoder: any Encoder) throws {
      var members = encoder.container(keyedBy: CodingKeys.self)
      try members.encode(name, forKey: .name)
      try members.encode(isRemote ? 2 : 1, forKey: .hosts)
      try members.encode(kilobytes * 1024, forKey: .octets)
      try members.encode(perKilobyte.inReply, forKey: .perKilobyte)
      try members.encode(
        (Samples.median(cpu) / Double(kilobytes)).inReply, forKey: .processorTime)
    }
  }

  func run() throws {
    let node = try options.attach()
    defer { node.close() }
    let other = try options.find(target, on: node, "bench uio")
    let far = try BenchFile(options, node, target == "self" ? node.host : target)
    defer { far.remove() }
    let near = try BenchFile(options, node, node.host)
    defer { near.remove() }
    var echo = try echo.map { try UDPEcho($0) }
    let names = ["get-byte", "bytes", "blocks", "bare IPC"]
    var rows = [1, 16].flatMap { size in
      [true, false].flatMap { isRemote in
        names.map { Row(name: $0, isRemote: isRemote, kilobytes: size) }
      }
    }
    if echo != nil {
      rows += [1, 16].map { Row(name: "UDP echo", isRemote: true, kilobytes: $0) }
    }
    for _ in 0..<Self.rounds {
      for index in rows.indices {
        let isRemote = rows[index].isRemote
        let kernel = isRemote ? other.kernel : node.kernel
        let before = try ProcessorTime.now(options, node, kernel)
        let samples = try measure(
          rows[index], isRemote ? far : near, .nodeServer(of: kernel), node, &echo)
        let spent = try ProcessorTime.now(options, node, kernel) - before
        rows[index].medians.append(samples.median)
        rows[index].cpu.append(
          (spent.here + spent.there + spent.process) / Double(samples.nanoseconds.count))
      }
    }
    show(rows, node.host)
  }

  private func measure(
    _ row: Row, _ file: BenchFile, _ server: EntityID, _ node: AttachedBackplane,
    _ echo: inout UDPEcho?
  ) throws -> Samples {
    let each = max(1, count / Self.rounds)
    let octets = row.kilobytes * 1024
    var samples = Samples()
    var sum: UInt64 = 0
    var block = [UInt8](repeating: 1, count: octets)
    if row.name == "UDP echo" {
      samples.add(try echo?.measure(each, requestBytes: 0, answerBytes: octets) ?? [])
      return samples
    }
    let bare = EchoSegment(answerBytes: octets, data: []).message
    for number in 0..<each {
      let start = node.now
      switch row.name {
      case "get-byte": break
      case "bare IPC":
        let response = node.sendAndWait(bare, from: file.client, to: server)
        guard response.code.isOK else { throw file.failure(Refusal(response.message)) }
      default: block = try file.read(number, octets)
      }
      if row.name == "get-byte" || row.name == "bytes" {
        var reader = ByteReader(block)
        while let octet = reader.next() { sum &+= UInt64(octet) }
      }
      samples.add(node.now - start)
    }
    // Otherwise the compiler may remove the reading.
    if sum == .max { say("") }
    return samples
  }

  private func show(_ rows: [Row], _ host: String) {
    guard !options.json else {
      return options.sayRows(rows, bench: "uio", on: host, target, count)
    }
    say(
      Text.table(
        [["US FOR 1 KB", "HOSTS", "BLOCK KB", "US", "CPU US", "TO BARE IPC"]]
          + rows.map { row in
            let bare = rows.first {
              $0.name == "bare IPC" && $0.isRemote == row.isRemote && $0.kilobytes == row.kilobytes
            }
            return [
              row.name, row.isRemote ? "two" : "one", "\(row.kilobytes)",
              Text.decimal(row.perKilobyte, 2),
              Text.decimal(Samples.median(row.cpu) / Double(row.kilobytes), 2),
              Text.decimal(row.perKilobyte / (bare?.perKilobyte ?? .nan), 2),
            ]
          }
      ).joined(separator: "\n"))
  }
}

/// Takes octets from a block one by one, like a program that reads with getc.
struct ByteReader {
  private let block: [UInt8]
  private var position = 0

  init(_ block: [UInt8]) { self.block = block }

  @inline(never)
  mutating func next() -> UInt8? {
    guard position < block.count else { return nil }
    defer { position += 1 }
    return block[position]
  }
}
