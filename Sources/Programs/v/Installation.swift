import Glibc

/// Where the other parts of this program's installation of V are.
enum Installation {
  /// A script of the folder `mount`, for a program that was built in its project.
  static func script(_ name: String) -> String? {
    guard let program = realpath("/proc/self/exe", nil) else { return nil }
    defer { free(program) }
    var parts = String(cString: program).split(separator: "/")
    while !parts.isEmpty {
      parts.removeLast()
      let path = "/" + (parts + ["mount", Substring(name)]).joined(separator: "/")
      if access(path, X_OK) == 0, parts.last != "bin" { return path }
    }
    return nil
  }

  /// A program beside this one, or on PATH.
  static func program(_ name: String) -> String? {
    guard let own = realpath("/proc/self/exe", nil) else { return nil }
    defer { free(own) }
    let folder = String(cString: own).split(separator: "/").dropLast().joined(separator: "/")
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
    let folders = ["/" + folder] + path.split(separator: ":").map(String.init)
    return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }
}
