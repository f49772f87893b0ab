/// Which target may import which: the arrows between the rooms of the system.
///
/// The build alone does not check them: it lets a target import the dependencies of its
/// dependencies.
struct ImportTable {
  /// Every target: the folders in the folders of Sources.
  var targets: Set<String>

  /// None of these imports a server, and no server imports one of them, except the rows below.
  static let named: Set = [
    "CVLinux", "CFuse3", "VProtocol", "VTransport", "VSealing", "VKernel", "VRecording", "VRuntime",
    "VObjects", "VClient",
    "VStore", "VLoop", "VNode", "VAttach", "VLinuxStore", "VKeeping", "VLinuxPrograms", "VFuse",
    "VMount", "VServers", "VCommand", "VDoctor", "vnode", "vkeep", "v", "vbench",
  ]

  static let packages: Set = ["ArgumentParser", "Logging", "ServiceLifecycle", "TOMLKit"]

  /// A target without a row of its own is a server.
  var servers: Set<String> { targets.subtracting(Self.named) }

  func allowed(in target: String) -> Set<String> {
    let core: Set = ["Swift", "Synchronization"]
    let system = core.union(["Glibc"])
    switch target {
    case "VProtocol": return core
    case "VTransport", "VSealing": return core.union(["VProtocol"])
    case "VKernel": return core.union(["VTransport", "VProtocol"])
    case "VRecording": return core.union(["VKernel", "VTransport", "VProtocol"])
    case "VRuntime": return core.union(["VProtocol"])
    case "VObjects", "VClient", "VStore": return core.union(["VRuntime", "VProtocol"])
    case "VLoop": return system.union(["VProtocol", "CVLinux"])
    case "VNode":
      return system.union(
        [
          "VKernel", "VTransport", "VSealing", "VRecording", "VRuntime", "VProtocol", "VLoop",
          "CVLinux",
        ])
    case "VAttach": return system.union(["VRuntime", "VProtocol", "VLoop", "CVLinux"])
    case "VLinuxStore":
      return system.union(["VStore", "VRuntime", "VProtocol", "VLoop", "CVLinux"])
    case "VLinuxPrograms":
      return system.union(["VKeeping", "VStore", "VRuntime", "VProtocol", "VLoop", "CVLinux"])
    case "VKeeping": return system.union(["VStore", "VProtocol", "CVLinux"])
    case "vkeep": return system.union(["VKeeping"])
    case "VFuse": return system.union(["CVLinux", "CFuse3"])
    case "VMount": return core.union(["VFuse", "VClient", "VRuntime", "VProtocol"])
    case "vnode":
      return system.union([
        "VNode", "VRecording", "VSealing", "VKeeping", "VLinuxStore", "VServers", "VFuse", "VMount",
        "VAttach", "VObjects", "VClient", "VStore", "VRuntime", "VProtocol",
      ])
      .union(servers).union(Self.packages)
    case "VServers":
      return system.union([
        "VLinuxStore", "VLinuxPrograms", "VObjects", "VStore", "VRuntime", "VProtocol",
      ])
      .union(servers)
    case "VCommand":
      return system.union(["VAttach", "VClient", "VRuntime", "VProtocol", "ArgumentParser"])
    case "VDoctor":
      return system.union([
        "VCommand", "VAttach", "VClient", "VRuntime", "VProtocol", "ArgumentParser",
      ])
    case "vbench":
      return system.union([
        "VCommand", "VAttach", "VClient", "VObjects", "VRuntime", "VProtocol", "ArgumentParser",
      ])
    // A composition root too: it runs servers as processes of their own.
    case "v":
      return system.union([
        "CVLinux", "VCommand", "VDoctor", "VAttach", "VLinuxStore", "VServers", "VClient",
        "VObjects", "VStore", "VRuntime", "VProtocol",
      ])
      .union(servers).union(Self.packages)
    default: return core.union(["VObjects", "VStore", "VRuntime", "VProtocol"])
    }
  }

  /// Checks one file of a target.
  func findings(_ path: String, _ text: String, target: String) -> [Finding] {
    let allowed = allowed(in: target)
    return SwiftSource(text).code.enumerated().compactMap { index, line in
      guard let module = Self.importedModule(line), !allowed.contains(module) else { return nil }
      return Finding(path: path, line: index + 1, rule: "\(target) must not import \(module)")
    }
  }

  /// The module that a line of code imports: `@testable import A`, `public import struct A.B`.
  static func importedModule(_ line: String) -> String? {
    let words = line.split(whereSeparator: \.isWhitespace)
    guard let index = words.firstIndex(of: "import") else { return nil }
    let isPrefixed = words[..<index].allSatisfy {
      $0.hasPrefix("@") || ["public", "package", "internal", "fileprivate", "private"].contains($0)
    }
    guard isPrefixed else { return nil }
    let kinds: Set<Substring> = [
      "typealias", "struct", "class", "enum", "protocol", "let", "var", "func",
    ]
    let rest = words[(index + 1)...].drop { kinds.contains($0) }
    return rest.first?.split(separator: ".").first.map(String.init)
  }
}
