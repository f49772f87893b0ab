import Foundation

/// The input under test, as text that a signal handler can write.
///
/// `@unchecked Sendable`: the fuzzer has one thread.
final class CurrentInput: @unchecked Sendable {
  fileprivate let text = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
  fileprivate var count = 0
  private static let capacity = 40_000
  private static let digits = Array("0123456789abcdef".utf8)

  func set(_ input: [UInt8], parser: String) {
    count = 0
    for octet in "FAILED: a trap in \(parser)\n".utf8 { append(octet) }
    for octet in input {
      append(Self.digits[Int(octet >> 4)])
      append(Self.digits[Int(octet & 15)])
    }
    append(UInt8(ascii: "\n"))
  }

  private func append(_ octet: UInt8) {
    precondition(count < Self.capacity, "inputs are bounded")
    text[count] = octet
    count += 1
  }
}

let currentInput = CurrentInput()

/// A trap of Swift is an illegal instruction or a breakpoint: says which input led to it.
func installTrapHandler() {
  for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE] {
    signal(number) { _ in
      _ = write(STDOUT_FILENO, currentInput.text, currentInput.count)
      _exit(1)
    }
  }
}
