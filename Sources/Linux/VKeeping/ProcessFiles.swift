import CVLinux
import Glibc

/// Reads small files of the kernel, and directories.
package enum ProcessFiles {
  /// At most `count` octets of a file, or its error number, negative.
  package static func read(_ path: String, count: Int) -> (octets: [UInt8], error: Int32) {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
    return read(file >= 0 ? file : -errno, count: count)
  }

  /// The same for the result of open(2): a file, which is closed then, or an error number.
  package static func read(_ file: Int32, count: Int) -> (octets: [UInt8], error: Int32) {
    guard file >= 0 else { return ([], file) }
    defer { close(file) }
    var octets: [UInt8] = []
    while octets.count < count {
      var error: Int32 = 0
      let room = min(16_384, count - octets.count)
      let chunk = unsafe [UInt8](unsafeUninitializedCapacity: room) { buffer, filled in
        let result = unsafe Glibc.read(file, buffer.baseAddress, room)
        if result < 0 { error = -errno }
        filled = max(0, result)
      }
      if error != 0 { return (octets, error) }
      if chunk.isEmpty { break }
      octets += chunk
    }
    return (octets, 0)
  }

  package static func lines(of path: String) -> [Substring] {
    let text = read(path, count: 1 << 20).octets
    return String(decoding: text, as: UTF8.self).split(separator: "\n")
  }

  package static func mayWrite(_ path: String) -> Bool { unsafe access(path, W_OK) == 0 }

  /// The target of a symbolic link; empty if there is none.
  package static func link(_ path: String) -> String {
    let octets = unsafe [UInt8](unsafeUninitializedCapacity: 4096) { buffer, filled in
      filled = unsafe buffer.withMemoryRebound(to: CChar.self) {
        unsafe max(0, readlink(path, $0.baseAddress!, $0.count))
      }
    }
    return String(decoding: octets, as: UTF8.self)
  }

  /// The names in a directory; none if it cannot be read.
  package static func entries(of path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe _ = closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
        unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }
}
