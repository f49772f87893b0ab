import VProtocol
public import VStore

/// What the files of a program say, as text; and the words that are read from people.
extension ProgramClass {
  /// All of them, for a message.
  static let words = allCases.map(\.rawValue).joined(separator: ", ")
}

extension TerminalSize {
  /// `ROWS COLUMNS`, neither of them 0.
  package init?(_ text: some StringProtocol) {
    let numbers = text.split(separator: " ").map { UInt16($0) }
    guard numbers.count == 2, let rows = numbers[0], let columns = numbers[1], rows > 0,
      columns > 0
    else { return nil }
    self.init(rows: rows, columns: columns)
  }

  var text: String { "\(rows) \(columns)" }
}

extension ProgramState: CustomStringConvertible {
  /// `running`, `stopped`, `suspended`, `exited 0`, `killed TERM`.
  public var description: String {
    switch self {
    case .running: "running"
    case .stopped: "stopped"
    case .suspended: "suspended"
    case .exited(let code): "exited \(code)"
    case .killed(let signal): "killed \(SignalName.name(of: signal))"
    }
  }
}

/// The signals of Linux by name.
package enum SignalName {
  /// Without SIG; a number where it has no name.
  package static func name(of signal: Int32) -> String {
    guard signal > 0, Int(signal) <= names.count else { return "\(signal)" }
    return names[Int(signal) - 1]
  }

  /// A name with or without SIG, in any case, or a number; nil where there is no such signal.
  package static func number(of name: some StringProtocol) -> Int32? {
    if let number = Int32(name) { return 1...numberMax ~= number ? number : nil }
    var bare = name.uppercased()
    if bare.hasPrefix("SIG") { bare = String(bare.dropFirst(3)) }
    return names.firstIndex(of: bare).map { Int32($0) + 1 }
  }

  package static let terminate: Int32 = 15
  package static let kill: Int32 = 9
  private static let numberMax: Int32 = 64
  /// From 1 on, as all machines but a few old ones number them.
  private static let names = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
  ]
}

/// Seconds and nanoseconds since 1970, with all nine digits.
func timeText(_ nanoseconds: Int64) -> String {
  let fraction = "\(nanoseconds % 1_000_000_000)"
  return "\(nanoseconds / 1_000_000_000)."
    + String(repeating: "0", count: 9 - fraction.utf8.count) + fraction
}
