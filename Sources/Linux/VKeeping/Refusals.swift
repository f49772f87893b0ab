import Glibc
package import VProtocol

extension Refusal {
  package static let ended = Refusal(.noProcess, "the program has ended")

  package static func tooManyArguments(of program: [UInt8]) -> Refusal {
    Refusal(.badArguments, "\(String(decoding: program, as: UTF8.self)): too many arguments")
  }

  /// The error number of a system call, negative.
  package static func system(_ error: Int32, _ words: String) -> Refusal {
    let code = ReplyCode(errno: -error)
    return Refusal(code, "\(words): \(code)")
  }

  package static func process(_ pid: Int32, _ error: Int32) -> Refusal {
    if error == -ENOENT || error == -ESRCH {
      return Refusal(.noProcess, "no such process: \(pid)")
    }
    return system(error, "process \(pid)")
  }
}
