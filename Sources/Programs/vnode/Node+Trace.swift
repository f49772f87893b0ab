import VNode
import VProtocol
import VRecording

extension Node {
  /// The recorded transactions, the oldest first, as lines: seconds on the node's clock, client,
  /// server, code of the request, reply code, microseconds; `-` for what is still missing.
  var traceText: String {
    trace.entries.map { entry in
      let since = entry.startedAt.nanoseconds / 1000
      let microseconds = "\(since % 1_000_000)"
      let padding = String(repeating: "0", count: 6 - microseconds.count)
      let end = entry.end.map { "\($0.reply.rawValue) \($0.span.nanoseconds / 1000)" } ?? "- -"
      let code = String(entry.code, radix: 16)
      return "\(since / 1_000_000).\(padding)\(microseconds) \(entry.client) \(entry.server) "
        + "\(String(repeating: "0", count: max(0, 6 - code.count)))\(code) \(end)\n"
    }.joined()
  }
}
