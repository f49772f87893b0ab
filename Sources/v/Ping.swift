import ArgumentParser
import Glibc
import VAttach
import VProtocol
import VRuntime

/// `v ping`: how long short Sends to another host take.
struct Ping: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Times short Sends to a host's node, or to one entity.",
    discussion: """
      Example: v ping -c 1000 moa

      This host's node makes the Sends, one after another, and times them itself, so that what \
      is seen is the message kernel and not this command. A Send is lost if it ends without an \
      answer; lost packets are sent again and only cost time.
      """)

  @Option(name: .shortAndLong, help: "How many Sends.")
  var count = 10

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("A host, self, or an entity such as BE-2-10.77.0.2.", valueName: "target"))
  var target: String

  func validate() throws {
    guard 1...Int(MeasureSends.countMax) ~= count else {
      throw ValidationError("--count takes a number from 1 to \(MeasureSends.countMax).")
    }
    guard 1...FindNode.hostBytesMax ~= target.utf8.count else {
      throw ValidationError("'\(target)' is not the name of a host.")
    }
  }

  func run() throws {
    let node = try options.attach()
    defer { node.close() }
    // As in /v, where `self` stands beside the hosts.
    let host = target == "self" ? node.host : target
    let operation = MeasureSends(
      target: EntityID(target).map { .entity($0) } ?? .host(host), count: UInt32(count),
      limitMilliseconds: UInt32(options.timeoutMilliseconds))
    // The node keeps the time; this limit is for a node that does not.
    let limit = TimeSpan.milliseconds(options.timeoutMilliseconds) + .seconds(2)
    let answer = node.sendAndWait(
      operation, from: node.makeClient(user: node.user), to: .nodeServer(of: node.kernel),
      options: SendOptions(timeLimit: limit))
    switch answer {
    case .done(let result, _):
      say(options.json ? json(result).text : text(result))
      try check(result)
    case .refused(.notFound):
      throw Failure(status: .refused, description: "ping \(target): no node of that name answers")
    case .refused(.userTimeout):
      throw timeLimitReached
    case .refused(let code):
      guard node.isAttached else { throw Failure.nodeLost }
      throw Failure(status: .refused, description: "ping \(target): \(code)")
    }
  }

  /// Fails unless every Send was made and answered.
  private func check(_ result: MeasureSends.Answer) throws {
    if result.code == .userTimeout { throw timeLimitReached }
    if result.lost > 0 {
      throw Failure(status: .refused, description: "ping \(target): \(result.code)")
    }
  }

  private var timeLimitReached: Failure {
    Failure(
      status: .timeLimit,
      description: "ping \(target): \(count) Sends took longer than \(options.timeout) s")
  }

  private func json(_ result: MeasureSends.Answer) -> JSON {
    let isMeasured = result.lost < result.count
    func time(_ nanoseconds: UInt32) -> JSON {
      isMeasured ? .microseconds(nanoseconds) : .null
    }
    return .object([
      ("schema", .integer(1)),
      ("target", .string(target)),
      ("count", .integer(Int(result.count))),
      ("min_us", time(result.minimum)),
      ("p50_us", time(result.median)),
      ("p99_us", time(result.percentile99)),
      ("max_us", time(result.maximum)),
      ("lost", .integer(Int(result.lost))),
    ])
  }

  private func text(_ result: MeasureSends.Answer) -> String {
    let counts = "\(target): \(result.count) Sends, \(result.lost) lost"
    guard result.lost < result.count else { return counts }
    return counts
      + ", min \(JSON.microsecondsText(result.minimum)), "
      + "p50 \(JSON.microsecondsText(result.median)), "
      + "p99 \(JSON.microsecondsText(result.percentile99)), "
      + "max \(JSON.microsecondsText(result.maximum)) us"
  }
}
