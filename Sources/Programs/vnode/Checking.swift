import Glibc
import VLinuxStore
import VStore

/// Checks whether a node could start with this configuration on this host; returns the problems
/// that would not keep it from starting.
func check(_ configuration: Configuration) throws -> [String] {
  _ = try namedAddress(configuration)
  _ = try readKey(configuration)
  _ = try peerAddresses(configuration)
  if let guest = configuration.guestUser {
    // A table of users without an answer now may have one later.
    let found = Result { try LinuxUsers().credentials(ofUser: guest, .mayWait) }
    if case .success(let who) = found, who?.canBeGuest != true {
      throw configuration.error("guest_user", guest, "no such user, or one who is root or nobody")
    }
  }
  if let mount = configuration.mount { try checkMount(mount, configuration) }
  guard configuration.servers.contains("file") else { return [] }
  return try configuration.exports.compactMap { try checkExport($0, configuration) }
}

private func checkMount(_ mount: String, _ configuration: Configuration) throws {
  // The mount there may be V itself, which may hang.
  guard !isMounted(mount) else { return }
  var status = stat()
  guard stat(mount, &status) == 0 else {
    throw configuration.error("mount", mount, String(cString: strerror(errno)))
  }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    throw configuration.error("mount", mount, "not a directory")
  }
}

private func checkExport(
  _ export: Configuration.Export, _ configuration: Configuration
) throws -> String? {
  let front = export.place.map { "\($0): " } ?? ""
  let what = "\(front)path = \"\(export.path)\" of \(export.prefix): "
  if let mount = configuration.mount, "\(export.path)/".hasPrefix("\(mount)/") {
    throw ConfigurationError(description: "\(what)lies in the mount, \(mount)")
  }
  var status = stat()
  guard stat(export.path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
    return "\(what)not a directory of this host now; it is served when it is"
  }
  return nil
}

/// Whether something is mounted on a path that is written as the kernel does.
private func isMounted(_ path: String) -> Bool {
  var escaped = ""
  for scalar in path.unicodeScalars {
    switch scalar {
    case " ": escaped += "\\040"
    case "\t": escaped += "\\011"
    case "\n": escaped += "\\012"
    case "\\": escaped += "\\134"
    default: escaped.unicodeScalars.append(scalar)
    }
  }
  let text = (try? readTextFile("/proc/self/mountinfo")) ?? ""
  return text.split(separator: "\n").contains { line in
    let words = line.split(separator: " ", maxSplits: 5)
    return words.count > 5 && words[4] == escaped
  }
}

/// The directory of a configured mount: links in it are followed once, now.
func mountPoint(_ mount: String) -> String {
  guard !isMounted(mount), let resolved = realpath(mount, nil) else { return mount }
  defer { free(resolved) }
  return String(cString: resolved)
}
