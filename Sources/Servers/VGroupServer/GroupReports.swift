package import VProtocol

/// The members' answers to a message, or why it was not sent: for the user who sent it.
package struct GroupReports: Sendable {
  package struct Key: Hashable {
    package var group: Name
    package var principal: Principal

    package init(group: Name, principal: Principal) {
      self.group = group
      self.principal = principal
    }
  }

  private struct Report: Sendable {
    var key: Key
    var text: [UInt8]
  }

  private let payers: Shares
  /// The latest last.
  private var reports: [Report] = []

  /// A user can read the answers to messages to so many groups: beyond it the user's oldest is
  /// dropped.
  package static let userReportsMax = 16
  /// Beyond it the oldest of all is dropped, which takes 32 users.
  package static let reportsMax = 512
  /// 64 members of 5 hosts with long words; 512 of them are 32 MB.
  package static let textBytesMax = 65_536

  package init(host: String) { payers = Shares(capacity: Self.reportsMax, ownHost: host) }

  package subscript(key: Key) -> [UInt8] {
    get { reports.last { $0.key == key }?.text ?? [] }
    set {
      reports.removeAll { $0.key == key }
      let own = reports.indices.filter {
        payers.isSamePayer(reports[$0].key.principal, key.principal)
      }
      if own.count >= Self.userReportsMax {
        reports.remove(at: own[0])
      } else if reports.count >= Self.reportsMax {
        reports.removeFirst()
      }
      reports.append(Report(key: key, text: Array(newValue.prefix(Self.textBytesMax))))
    }
  }

  package var count: Int { reports.count }

  // MARK: lines

  /// `MEMBER: WORDS`, in the order of their names.
  package static func text(_ lines: [Name: String], silent: Set<Name>) -> [UInt8] {
    let silent = silent.map { ($0, "no answer") }
    let all = (lines.map { ($0.key, $0.value) } + silent).sorted { $0.0 < $1.0 }
    return all.flatMap { $0.0.octets + Array(": \($0.1)\n".utf8) }
  }

  /// A member's answer, in one line.
  package static func words(_ answer: GroupMessage.Answer) -> String {
    let words =
      answer.words.isEmpty
      ? "\(answer.outcome.isOK ? "ok" : "\(answer.outcome)")"
      : answer.words
    return clipped(words)
  }

  package static func clipped(_ words: String) -> String {
    var line = String.UnicodeScalarView()
    for scalar in words.unicodeScalars.prefix(wordsMax) {
      let isControl = scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value
      line.append(isControl || scalar.properties.isWhitespace ? " " : scalar)
    }
    return String(line)
  }

  /// With the member's name they fit into one packet.
  private static let wordsMax = 256
}
