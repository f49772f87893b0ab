import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v ping`: the time of short Sends to another host.
struct Ping: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Times short Sends to a host's node, or to one entity.",
    discussion: """
      Example: v ping -c 1000 moa

      This host's node makes the Sends, one after another, and times them itself, so that what \
      is seen is the message kernel and not this command. With --attached this command makes \
      them: that is what any program of this host gets that is attached to the node. A Send is \
      lost if it ends without an answer; lost packets are sent again and only cost time.
      """)

  @Option(name: .shortAndLong, help: "How many Sends.")
  var count = 10

  @Flag(help: "Make the Sends in this process, attached to the node, and not inside the node.")
  var attached = false

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("A host, self, or an entity such as BE-2-10.77.0.2.", valueName: "target"),
    completion: .host)
  var target: String

  func validate() throws {
    guard 1...Int(MeasureSends.countMax) ~= count else {
      throw ValidationError("--count takes a number from 1 to \(MeasureSends.countMax).")
    }
    try validateHost(target)
  }

  func run() throws {
    let result: MeasureSends.Answer
    do throws(Failure) {
      result = try measure()
    } catch {
      if options.json { say(json(nil, error.description).text) }
      throw error
    }
    say(options.json ? json(result, result.lost > 0 ? "\(result.code)" : nil).text : text(result))
    if result.code == .userTimeout { throw options.timeLimitReached("ping \(target)", count) }
    if result.lost > 0 {
      throw Failure(status: .refused, description: "ping \(target): \(result.code)")
    }
  }

  private func measure() throws(Failure) -> MeasureSends.Answer {
    let node = try options.attach()
    defer { node.close() }
    if attached {
      let server = try options.find(target, on: node, "ping")
      let client = node.makeClient(user: node.user)
      var measurement = AttachedMeasurement(node, client, options, count: count)
      return measurement.run(to: server) { PingNode().message }
    }
    // As in /v, where `self` is beside the hosts.
    let host = target == "self" ? node.host : target
    let operation = MeasureSends(
      target: EntityID(target).map { .entity($0) } ?? .host(host), count: UInt32(count),
      limitMilliseconds: UInt32(options.timeoutMilliseconds))
    return try options.measure(operation, on: node, "ping \(target)")
  }

  private func json(_ result: MeasureSends.Answer?, _ error: String?) -> JSON {
    func time(_ nanoseconds: UInt32?) -> Double? {
      guard let result, result.lost < result.count else { return nil }
      return nanoseconds.map { Double($0) / 1000 }
    }
    return .reply(
      PingReply(
        target: target, from: attached ? "process" : "node", count: Int(result?.count ?? 0),
        minimum: time(result?.minimum), median: time(result?.median),
        percentile99: time(result?.percentile99), maximum: time(result?.maximum),
        lost: Int(result?.lost ?? 0), error: error))
  }

  private func text(_ result: MeasureSends.Answer) -> String {
    let counts = "\(target): \(result.count) Sends, \(result.lost) lost"
    guard result.lost < result.count else { return counts }
    return counts
      + ", min \(Self.microseconds(result.minimum)), "
      + "p50 \(Self.microseconds(result.median)), "
      + "p99 \(Self.microseconds(result.percentile99)), "
      + "max \(Self.microseconds(result.maximum)) us"
  }

  private static func microseconds(_ nanoseconds: UInt32) -> String {
    Text.decimal(Double(nanoseconds) / 1000, 3)
  }
}

private struct PingReply: Encodable {
  var target: String
  var from: String
  var count: Int
  var minimum: Double?
  var median: Double?
  var percentile99: Double?
  var maximum: Double?
  var lost: Int
  var error: String?

  private enum CodingKeys: String, CodingKey {
    case target, from, count
    case minimum = "min_us"
    case median = "p50_us"
    case percentile99 = "p99_us"
    case maximum = "max_us"
    case lost, error
  }
}
