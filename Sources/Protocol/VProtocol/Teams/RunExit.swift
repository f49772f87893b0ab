/// How a program ended, and the exit status of `v run` for it.
public enum RunExit: Hashable, Sendable {
  case exited(Int32)
  /// Without SIG, or the number of a signal without a name.
  case killed(String)

  /// Reads `exited 3` or `killed TERM`, as in `wait` and `status`; nil for any other state.
  public init?(_ text: some StringProtocol) {
    let words = text.split(whereSeparator: \.isWhitespace)
    guard words.count == 2 else { return nil }
    switch words[0] {
    case "exited":
      guard let code = Int32(words[1]) else { return nil }
      self = .exited(code)
    case "killed": self = .killed(String(words[1]))
    default: return nil
    }
  }

  /// As a shell shows it: the program's own, or 128 and the signal.
  public var status: Int32 {
    switch self {
    case .exited(let code): code & 0xFF
    case .killed(let signal): 128 + (Signal.number(of: signal) ?? 0)
    }
  }
}

/// The exit statuses of `v run` itself, as those of env(1).
public enum RunStatus {
  public static let failed: Int32 = 125
  public static let notExecutable: Int32 = 126
  public static let noProgram: Int32 = 127

  /// For a start that a host refused.
  ///
  /// `isNotFound`: as its code says; words that begin with the program's name are about the
  /// program's file.
  public static func ofRefusedStart(
    isNotFound: Bool, words: String, program: some StringProtocol
  ) -> Int32 {
    if isNotFound { return noProgram }
    return words.hasPrefix("\(program):") ? notExecutable : failed
  }
}
