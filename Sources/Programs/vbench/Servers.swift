import ArgumentParser
import VAttach
import VCommand
import VObjects
import VProtocol
import VRuntime

/// `v bench servers`: the two kinds of server side by side.
struct BenchServers: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "servers",
    abstract: "Times short Sends to a message process and to a procedure, in turn.",
    discussion: """
      Example: v bench servers

      Client and servers are two processes of this host for the node, attached to it. A procedure \
      is called with the request; a message process receives it, answers, and receives the next.
      """)

  @Option(name: .shortAndLong, help: "How many Sends to each, in ten rounds.")
  var count = 2000

  @OptionGroup var options: CommonOptions

  private static let rounds = 10

  func validate() throws {
    guard 10...100_000 ~= count else {
      throw ValidationError("--count takes a number from 10 to 100,000.")
    }
  }

  private struct Row: Encodable {
    var what: String
    var median: Double
    var ratio: Double

    private enum CodingKeys: String, CodingKey {
      case what
      case median = "p50_us"
      case ratio
    }
  }

  func run() throws {
    let (node, serving) = (try options.attach(), try options.attach())
    defer {
      node.close()
      serving.close()
    }
    let procedure = serving.makeServer(knowsPrincipals: false) { request in
      serving.reply(Message(reply: .ok), to: request)
    }
    let process = MessageProcess(serving, knowsPrincipals: false)
    Self.receive(process, serving)
    let client = node.makeClient(user: node.user)
    var medians: [[Double]] = [[], []]
    for _ in 0..<Self.rounds {
      for (index, server) in [procedure, process.entity].enumerated() {
        medians[index].append(try median(node, client, server))
      }
    }
    let (calls, messages) = (Samples.median(medians[0]), Samples.median(medians[1]))
    let rows = [
      Row(what: "procedure", median: calls.inReply, ratio: 1),
      Row(
        what: "message process", median: messages.inReply, ratio: (messages / calls).inReply),
    ]
    guard !options.json else {
      return options.sayRows(rows, bench: "servers", on: node.host, node.host, count)
    }
    let cells = rows.map { [$0.what, Text.decimal($0.median, 1), Text.decimal($0.ratio, 2)] }
    say(Text.table([["SERVER", "SEND US", "RATIO"]] + cells).joined(separator: "\n"))
  }

  private static func receive(_ process: MessageProcess, _ node: AttachedBackplane) {
    process.receive { request in
      node.reply(Message(reply: .ok), to: request)
      receive(process, node)
    }
  }

  private func median(
    _ node: AttachedBackplane, _ client: EntityID, _ server: EntityID
  ) throws -> Double {
    var measurement = AttachedMeasurement(node, client, options, count: count / Self.rounds)
    let result = measurement.run(to: server) { Message(MessageControlBlock(code: 1)) }
    guard result.lost == 0 else {
      throw Failure(status: .refused, description: "bench servers: \(result.code)")
    }
    return Double(result.median) / 1000
  }
}
