import ArgumentParser
import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v stat`: shows the counters of a host's node.
struct Stat: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the counters of a host's node, with their units and their window of time.",
    discussion: """
      Example: v stat --window 1 moa

      Without a window the counts are those since the start of the node.
      """)

  @Option(help: "Count for so many seconds from now.")
  var window: Double?

  @OptionGroup var options: CommonOptions

  @Argument(
    help: ArgumentHelp("A host; this one if none is named.", valueName: "host"), completion: .host)
  var host = "self"

  func validate() throws {
    if let window, !(window > 0 && window <= 3600) {
      throw ValidationError("--window takes a number of seconds, above 0 and at most 3600.")
    }
    try validateHost(host)
  }

  func run() throws {
    try options.answer("stat \(host)") { names in
      var counts = try Counts(names.lines(of: path))
      if let window {
        usleep(UInt32(window * 1_000_000))
        // The wait is no part of the time limit.
        let later = try Counts(
          Names(names.session, options, for: "stat \(host)").lines(of: path))
        counts = later.since(counts)
      }
      counts.host = host == "self" ? names.node.host : host
      return Reply(counts, text: counts.text)
    }
  }

  private var path: String { "host/\(host)/net/stats" }
}

/// What a node counted in a window of time.
private struct Counts: Encodable {
  struct Count: Encodable {
    var name: String
    var count: Int
    var unit: String
    var reason: String?
  }

  var host = ""
  var windowMilliseconds = 0
  var counts: [Count] = []

  private enum CodingKeys: String, CodingKey {
    case host
    case windowMilliseconds = "window_ms"
    case counts
  }

  init(_ lines: [Substring]) {
    for line in lines {
      let words = line.split(separator: " ", maxSplits: 3).map(String.init)
      guard words.count >= 3, let count = Int(words[1]) else { continue }
      if words[0] == "window" {
        windowMilliseconds = count
      } else {
        counts.append(
          Count(name: words[0], count: count, unit: words[2], reason: words.dropFirst(3).first))
      }
    }
  }

  func since(_ before: Counts) -> Counts {
    var result = self
    result.windowMilliseconds -= before.windowMilliseconds
    for (index, count) in counts.enumerated() {
      let old = before.counts.first { $0.name == count.name && $0.reason == count.reason }
      result.counts[index].count -= old?.count ?? 0
    }
    return result
  }

  var text: String {
    let width = counts.map { "\($0.count)".count }.max() ?? 0
    let seconds = "\(windowMilliseconds / 1000).\(windowMilliseconds % 1000 / 100)"
    return
      (["\(host): in \(seconds) s"]
      + counts.map { count in
        let number = "\(count.count)"
        return String(repeating: " ", count: width - number.count)
          + "\(number) \(count.unit)  \(count.name)\(count.reason.map { ": \($0)" } ?? "")"
      }).joined(separator: "\n")
  }
}
