import Glibc
import VCommand

/// The text of `v status`: this host and the others as a table, then the problems, and on request
/// the node's counters.
struct StatusText {
  private let report: NodeReport
  private let troubles: [Trouble]
  private let looks: [String: HostLook]
  private let isVerbose: Bool

  init(
    _ report: NodeReport, _ troubles: [Trouble], _ looks: [String: HostLook], isVerbose: Bool
  ) {
    self.report = report
    self.troubles = troubles
    self.looks = looks
    self.isVerbose = isVerbose
  }

  private struct Row {
    var cells: [String]
    var color: Color
  }

  private static let heading = ["HOST", "STATE", "LOAD", "PROGRAMS", "FREE DISK", "RTT", "ADDRESS"]

  var text: String {
    let rows = [ownRow] + report.peers.map(row)
    let heading = Self.heading + (isVerbose ? ["KERNEL"] : [])
    let table = Text.table([heading] + rows.map(\.cells))
    var lines = [table[0]] + zip(table.dropFirst(), rows).map { Color.paint($0, $1.color) }
    if !report.isSealed {
      lines.append("without a cluster key this host is alone")
    } else if report.peers.isEmpty {
      lines.append("no other node was heard")
    }
    if let count = report.values["peers_left_out"] { lines.append("and \(count) more") }
    if !troubles.isEmpty { lines.append("") }
    lines += troubles.map { trouble in
      let front = "\(trouble.host): \(trouble.cause.rawValue): "
      return Color.paint(front, .red) + trouble.text.dropFirst(front.count)
    }
    return (lines + (isVerbose ? counts : [])).joined(separator: "\n")
  }

  private var ownRow: Row {
    let host = report.values["host"] ?? "-"
    return Row(
      cells: [host, "here, up \(Text.duration(report.uptimeMilliseconds))"] + look(host)
        + ["-", report.isSealed ? report.values["address"] ?? "-" : "-"]
        + kernel(
          report.values["kernel"]),
      color: .plain)
  }

  private func row(_ peer: NodeReport.Peer) -> Row {
    let state: String
    if peer.isDeaf {
      state = "deaf: it is heard, but packets to it are lost"
    } else if peer.isSilent {
      let since = peer.heardMilliseconds.map { " for \(Text.duration($0))" } ?? ""
      let why = troubles.first { $0.host == peer.name }.map { ", \($0.cause.rawValue)" } ?? ""
      state = "silent\(since)\(why)"
    } else {
      state = "alive"
    }
    return Row(
      cells: [peer.host ?? "-", state] + look(peer.isSilent ? nil : peer.host)
        + [peer.roundTripMicroseconds.map { "\($0) us" } ?? "-", peer.locator ?? "-"]
        + kernel(peer.kernel),
      color: peer.isSilent ? .red : .green)
  }

  private func look(_ host: String?) -> [String] {
    guard let look = host.flatMap({ looks[$0] }) else { return ["-", "-", "-"] }
    return [look.load ?? "-", look.programs.map { "\($0)" } ?? "-", look.diskText]
  }

  private func kernel(_ kernel: String?) -> [String] { isVerbose ? [kernel ?? "-"] : [] }

  /// Counters that are not zero, refused packets, and closed connections.
  private var counts: [String] {
    var lines = ["", "attached \(report.values["attached"] ?? "0")"]
    lines += report.counters.filter { $0.count > 0 }.map { "\($0.name) \($0.count)" }
    lines += report.rejected.prefix(8).map {
      "rejected \($0.count) of \($0.source): \($0.reason), last "
        + "\(Text.duration($0.lastMilliseconds)) ago"
    }
    lines += report.closed.filter { $0.name != "ended" }.map { "closed \($0.count): \($0.name)" }
    return lines
  }
}

/// Colours of a terminal, if standard output is one and the user has not disabled them.
enum Color: Int {
  case plain = 0
  case red = 31
  case green = 32

  private static let isWanted: Bool = {
    func value(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }
    return isatty(1) == 1 && value("NO_COLOR").isEmpty && !["", "dumb"].contains(value("TERM"))
  }()

  static func paint(_ text: String, _ color: Color) -> String {
    isWanted && color != .plain ? "\u{1B}[\(color.rawValue)m\(text)\u{1B}[0m" : text
  }
}
