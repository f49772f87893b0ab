import VNode
import VProtocol

extension Node {
  /// The transactions that were kept, the oldest first, as lines: seconds since the first, client,
  /// server, code of the request, reply code, microseconds; `-` for what has not come.
  var traceText: String {
    let entries = trace.entries
    guard let first = entries.first?.startedAt else { return "" }
    return entries.map { entry in
      let since = (entry.startedAt - first).nanoseconds / 1000
      let microseconds = "\(since % 1_000_000)"
      let padding = String(repeating: "0", count: 6 - microseconds.count)
      let end = entry.end.map { "\($0.reply.rawValue) \($0.span.nanoseconds / 1000)" } ?? "- -"
      let code = String(entry.code, radix: 16)
      return "\(since / 1_000_000).\(padding)\(microseconds) \(entry.client) \(entry.server) "
        + "\(String(repeating: "0", count: max(0, 6 - code.count)))\(code) \(end)\n"
    }.joined()
  }
}
