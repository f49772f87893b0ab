import VProtocol
public import VStore

/// The texts of a program's files, and the words that people write.
extension ProgramClass {
  /// All classes, for a message.
  static let words = allCases.map(\.rawValue).joined(separator: ", ")
}

extension ProgramState: CustomStringConvertible {
  /// `running`, `stopped`, `suspended`, `exited 0`, `killed TERM`.
  public var description: String {
    switch self {
    case .running: "running"
    case .stopped: "stopped"
    case .suspended: "suspended"
    case .exited(let code): "exited \(code)"
    case .killed(let signal): "killed \(Signal.name(of: signal))"
    }
  }
}

/// Seconds and nanoseconds since 1970, with all nine digits.
func timeText(_ nanoseconds: Int64) -> String {
  let fraction = "\(nanoseconds % 1_000_000_000)"
  return "\(nanoseconds / 1_000_000_000)."
    + String(repeating: "0", count: 9 - fraction.utf8.count) + fraction
}
