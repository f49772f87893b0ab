/// The signals of Linux by name.
public enum Signal {
  public static let kill: Int32 = 9
  public static let terminate: Int32 = 15

  /// The number of a name with or without SIG, in any case, or of a number from 1 to 64.
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

  /// From 1 on, as numbered on all but a few old machines.
  private static let names = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
  ]
}
