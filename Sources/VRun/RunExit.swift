/// How a program ended, and what `v run` makes of it.
public enum RunExit: Hashable, Sendable {
  case exited(Int32)
  /// Without SIG, or the number of one that has no name.
  case killed(String)

  /// Reads `exited 3` or `killed TERM`, as `wait` and `status` say it; nil for a state that is no
  /// end.
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

/// What `v run` itself ends with, as env(1) does.
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

/// The signals of Linux by name.
public enum Signal {
  /// Of a name with or without SIG, in any case, or a number from 1 to 64.
  public static func number(of name: some StringProtocol) -> Int32? {
    if let number = Int32(name) { return 1...64 ~= number ? number : nil }
    let upper = name.uppercased()
    let bare = upper.hasPrefix("SIG") ? String(upper.dropFirst(3)) : upper
    return names.firstIndex(of: bare).map { Int32($0) + 1 }
  }

  /// Without SIG, or the number.
  public static func name(of number: Int32) -> String {
    names.indices.contains(Int(number) - 1) ? names[Int(number) - 1] : "\(number)"
  }

  private static let names = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
  ]
}
