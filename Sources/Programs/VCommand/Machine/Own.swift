import Glibc

/// What this process has that a program elsewhere is to have too.
package enum Own {
  /// As they came, text or not.
  package static var arguments: [[UInt8]] {
    (0..<Int(CommandLine.argc)).map { octets(of: CommandLine.unsafeArgv[$0]) }
  }

  package static var environment: [[UInt8]] {
    var variables: [[UInt8]] = []
    var next = environ
    while let variable = next.pointee {
      variables.append(octets(of: variable))
      next += 1
    }
    return variables
  }

  /// Asking changes it for a moment, in which no thread of this process makes a file.
  package static var umask: UInt32 {
    let mask = Glibc.umask(0o077)
    _ = Glibc.umask(mask)
    return mask
  }

  /// Nil where it is gone.
  package static var directory: [UInt8]? {
    guard let path = getcwd(nil, 0) else { return nil }
    defer { free(path) }
    return octets(of: path)
  }

  private static func octets(of text: UnsafeMutablePointer<CChar>?) -> [UInt8] {
    guard let text else { return [] }
    return UnsafeRawBufferPointer(start: text, count: strlen(text)).map { $0 }
  }
}
