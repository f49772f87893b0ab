import Glibc

/// The processes of this machine, as /proc shows them.
package enum Processes {
  package struct Entry {
    package var pid: Int
    package var name: String
  }

  package static var all: [Entry] {
    Files.names("/proc").compactMap { entry in
      guard let pid = Int(entry), let name = Files.text("/proc/\(pid)/comm") else { return nil }
      return Entry(pid: pid, name: String(name.prefix { $0 != "\n" }))
    }
  }

  /// Those that have a UDP socket at a port, as `process 12 (name)`.
  package static func holding(udpPort port: UInt16) -> [String] {
    let digits = String(port, radix: 16, uppercase: true)
    let end = ":" + String(repeating: "0", count: 4 - digits.count) + digits
    let lists = ["/proc/net/udp", "/proc/net/udp6"].compactMap { Files.text($0) }.joined()
    let sockets = lists.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      return words.count > 9 && words[1].hasSuffix(end) ? "socket:[\(words[9])]" : nil
    }
    return all.filter { process in
      let folder = "/proc/\(process.pid)/fd"
      return Files.names(folder).contains { name in
        Files.link("\(folder)/\(name)").map(sockets.contains) ?? false
      }
    }.map { "process \($0.pid) (\($0.name))" }
  }

  /// Names what keeps a mount busy, one thing a line.
  ///
  /// Everything is read from /proc; the mount itself is not looked at, since it may hang.
  package static func holding(mount point: String) -> [String] {
    let own = Files.link("/proc/self/ns/mnt")
    func isInside(_ path: String) -> Bool { path == point || path.hasPrefix(point + "/") }
    var found: [String] = []
    for process in all where Files.link("/proc/\(process.pid)/ns/mnt") == own {
      let folder = "/proc/\(process.pid)"
      let who = "process \(process.pid) (\(process.name))"
      for (name, what) in [("cwd", "works in"), ("root", "has as its root"), ("exe", "runs")] {
        guard let path = Files.link("\(folder)/\(name)"), isInside(path) else { continue }
        found.append("\(who) \(what) \(path)")
      }
      for name in Files.names("\(folder)/fd") {
        guard let path = Files.link("\(folder)/fd/\(name)"), isInside(path) else { continue }
        found.append("\(who) has open, as descriptor \(name), \(path)")
      }
      let mapped = (Files.text("\(folder)/maps") ?? "").split(separator: "\n").lazy.compactMap {
        $0.split(separator: " ", maxSplits: 5).last.map(String.init)
      }.first { isInside(String($0.drop { $0 == " " })) }
      if let mapped { found.append("\(who) has mapped \(mapped.drop { $0 == " " })") }
    }
    return found
      + Mounts.all.filter { $0.point.hasPrefix(point + "/") }.map { "a mount on \($0.point)" }
  }
}

/// What is mounted in this process's view.
package enum Mounts {
  package struct Entry {
    package var point: String
    package var type: String
    package var source: String
  }

  package static var all: [Entry] {
    (Files.text("/proc/self/mountinfo") ?? "").split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard let dash = words.firstIndex(of: "-"), words.count > dash + 2, words.count > 4 else {
        return nil
      }
      return Entry(
        point: unescaped(words[4]), type: String(words[dash + 1]),
        source: String(words[dash + 2]))
    }
  }

  /// Whether a mount answers within two seconds; asked by another process, which may hang.
  package static func answers(_ point: String) -> Bool {
    Command.run(["timeout", "-k", "1", "2", "ls", "--", point]).status == 0
  }

  /// Linux writes blanks as \040 there.
  private static func unescaped(_ word: Substring) -> String {
    var octets: [UInt8] = []
    var rest = word.utf8[...]
    while let first = rest.popFirst() {
      if first == UInt8(ascii: "\\"), rest.count >= 3,
        let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
      {
        octets.append(code)
        rest.removeFirst(3)
      } else {
        octets.append(first)
      }
    }
    return String(decoding: octets, as: UTF8.self)
  }
}

/// Small files and folders, read whole; nil or nothing where they can not be read.
package enum Files {
  package static func text(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return String(decoding: rest(of: descriptor), as: UTF8.self)
  }

  package static func rest(of descriptor: Int32) -> [UInt8] {
    var octets: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return octets }
      octets += buffer[..<count]
    }
  }

  package static func link(_ path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes {
      readlink(path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count)
    }
    return count >= 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
  }

  package static func names(_ folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var found: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { found.append(name) }
    }
    return found
  }
}

/// Another program, run to its end.
package enum Command {
  package struct Outcome {
    /// 126 where it could not be tried, 127 where there is no such program, 128 + N for signal N.
    package var status: Int32
    package var output = ""
    package var errors = ""
  }

  /// A file without a name.
  private static func temporaryFile() -> Int32? {
    guard let stream = tmpfile() else { return nil }
    defer { fclose(stream) }
    let file = fcntl(fileno(stream), F_DUPFD_CLOEXEC, 0)
    return file < 0 ? nil : file
  }

  /// With `isShown` it writes where this process writes, and nothing is kept.
  package static func run(_ arguments: [String], isShown: Bool = false) -> Outcome {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // Files, not pipes: processes that outlive the program delay no reader.
    let wanted = isShown ? 0 : 2
    let files = (0..<wanted).compactMap { _ in temporaryFile() }
    defer { for file in files { close(file) } }
    guard files.count == wanted else {
      return Outcome(status: 126, errors: "no room for its output: \(errorText(errno))")
    }
    for (index, file) in files.enumerated() {
      posix_spawn_file_actions_adddup2(&actions, file, Int32(index + 1))
    }
    var words = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var pid: pid_t = 0
    guard posix_spawnp(&pid, arguments[0], &actions, nil, &words, environ) == 0 else {
      return Outcome(status: 127)
    }
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    let texts = files.map { file in
      lseek(file, 0, SEEK_SET)
      return String(decoding: Files.rest(of: file), as: UTF8.self)
    }
    let code = status & 0x7F == 0 ? status >> 8 & 0xFF : 128 + status & 0x7F
    return Outcome(
      status: code, output: texts.first ?? "", errors: texts.last ?? "")
  }
}
