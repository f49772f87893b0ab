// swift-tools-version: 6.2
import PackageDescription

/// Settings of every target: the rules the compiler can hold by itself.
let common: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .treatAllWarnings(as: .error),
]

/// A room of the system: `Sources/FOLDER/NAME`.
///
/// Shipped libraries also mark every unsafe expression.
func room(
  _ folder: String, _ name: String, _ dependencies: [Target.Dependency] = [],
  linkerSettings: [LinkerSetting] = []
) -> Target {
  .target(
    name: name, dependencies: dependencies, path: "Sources/\(folder)/\(name)",
    swiftSettings: common + [.strictMemorySafety()], linkerSettings: linkerSettings)
}

/// A server: written with VObjects, on what VStore asks of a machine.
func server(_ name: String) -> Target {
  room("Servers", name, ["VObjects", "VStore", "VRuntime", "VProtocol"])
}

/// What programs share: as free as they are.
func shared(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(
    name: name, dependencies: dependencies, path: "Sources/Programs/\(name)",
    swiftSettings: common)
}

func program(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(
    name: name, dependencies: dependencies, path: "Sources/Programs/\(name)",
    swiftSettings: common)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
  .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: common)
}

let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")

let system: [Target] = [
  room("Protocol", "VProtocol"),
  room("Kernel", "VTransport", ["VProtocol"]),
  room("Kernel", "VSealing", ["VProtocol"]),
  room("Kernel", "VKernel", ["VTransport", "VProtocol"]),
  room("Runtime", "VRuntime", ["VProtocol"]),
  room("Runtime", "VObjects", ["VRuntime", "VProtocol"]),
  room("Runtime", "VClient", ["VRuntime", "VProtocol"]),
  room("Runtime", "VStore", ["VRuntime", "VProtocol"]),
  .target(name: "CVLinux", path: "Sources/Linux/CVLinux"),
  room("Linux", "VLoop", ["VProtocol", "CVLinux"]),
  room("Linux", "VRecording", ["VKernel", "VTransport", "VProtocol"]),
  room(
    "Linux", "VNode",
    [
      "VKernel", "VTransport", "VSealing", "VRecording", "VRuntime", "VProtocol", "VLoop",
      "CVLinux",
    ],
    linkerSettings: [.linkedLibrary("crypto")]),
  room("Linux", "VAttach", ["VRuntime", "VProtocol", "VLoop", "CVLinux"]),
  room("Linux", "VLinuxStore", ["VStore", "VRuntime", "VProtocol", "VLoop", "CVLinux"]),
  room("Linux", "VKeeping", ["VStore", "VProtocol", "CVLinux"]),
  room(
    "Linux", "VLinuxPrograms",
    ["VKeeping", "VStore", "VRuntime", "VProtocol", "VLoop", "CVLinux"]),
  server("VDirectory"),
  server("VFileServer"),
  server("VGroupServer"),
  server("VKernelServers"),
  server("VPipeServer"),
  server("VRAMServer"),
  room("Servers", "VStandIn", ["VRuntime", "VProtocol"]),
  server("VTeamServer"),
  .systemLibrary(
    name: "CFuse3", path: "Sources/Mount/CFuse3", pkgConfig: "fuse3",
    providers: [.apt(["libfuse3-dev"])]),
  room("Mount", "VFuse", ["CVLinux", "CFuse3"]),
  room("Mount", "VMount", ["VFuse", "VClient", "VRuntime", "VProtocol"]),
]

let programs: [Target] = [
  room(
    "Programs", "VServers",
    [
      "VFileServer", "VGroupServer", "VLinuxPrograms", "VLinuxStore", "VPipeServer", "VRAMServer",
      "VObjects", "VStore", "VTeamServer", "VRuntime", "VProtocol",
    ]),
  program("vkeep", ["VKeeping"]),
  shared("VCommand", ["VAttach", "VClient", "VRuntime", "VProtocol", argumentParser]),
  shared("VDoctor", ["VCommand", "VClient", "VAttach", "VRuntime", "VProtocol", argumentParser]),
  program(
    "v",
    [
      "VCommand", "VDoctor", "VAttach", "VServers", "VStandIn", "VFileServer", "VLinuxStore",
      "VClient", "VObjects", "VStore", "VTeamServer", "VRuntime", "VProtocol", "CVLinux",
      argumentParser,
    ]),
  program(
    "vbench",
    ["VCommand", "VAttach", "VClient", "VObjects", "VRuntime", "VProtocol", argumentParser]),
  program(
    "vnode",
    [
      "VNode", "VRecording", "VSealing", "VServers", "VObjects", "VKernelServers", "VDirectory",
      "VFileServer", "VLinuxStore",
      "VTeamServer", "VMount", "VFuse", "VAttach", "VClient", "VKeeping", "VRuntime", "VProtocol",
      argumentParser,
      .product(name: "TOMLKit", package: "TOMLKit"),
      .product(name: "Logging", package: "swift-log"),
    ]),
]

let testing: [Target] = [
  .target(
    name: "Fixtures", dependencies: ["VProtocol"], path: "Tests/Fixtures",
    exclude: ["vmtp", "seal.py"], swiftSettings: common),
  .executableTarget(
    name: "vfuzz",
    dependencies: [
      "VAttach", "VKeeping", "VNode", "VTeamServer", "VObjects", "VStore", "VTransport", "VRuntime",
      "VProtocol", "Fixtures", "Replaying",
    ],
    path: "Tests/Fuzz", swiftSettings: common),
  .target(name: "NetworkFaults", path: "Tests/NetworkFaults", swiftSettings: common),
  .executableTarget(
    name: "vstorm",
    dependencies: [
      "VNode", "VObjects", "VKernel", "VTransport", "VRuntime", "VProtocol", "NetworkFaults",
      "Replaying",
    ],
    path: "Tests/Storm", swiftSettings: common),
  .target(
    name: "Replaying", dependencies: ["VRecording", "VKernel", "VProtocol"], path: "Tests/Replay",
    sources: ["Replay.swift"], swiftSettings: common),
  .executableTarget(
    name: "vreplay", dependencies: ["Replaying", "VRecording", "VProtocol"], path: "Tests/Replay",
    sources: ["Command.swift"], swiftSettings: common),
  .executableTarget(
    name: "vswitch", dependencies: ["NetworkFaults"], path: "Tests/Switch",
    swiftSettings: common),
  tests("VProtocolTests", ["VProtocol", "Fixtures"]),
  tests("VTransportTests", ["VTransport", "VProtocol", "NetworkFaults"]),
  tests("VKernelTests", ["VKernel", "VTransport", "VProtocol"]),
  tests("VSealingTests", ["VSealing"]),
  tests(
    "VNodeTests",
    [
      "VNode", "VRecording", "VLoop", "VTransport", "VRuntime", "VProtocol", "Fixtures",
      "NetworkFaults", "Replaying",
    ]),
  tests(
    "VMountTests",
    ["VMount", "VFuse", "VClient", "VNode", "VDirectory", "VRuntime", "VProtocol"]),
  tests("VClientTests", ["VClient", "VRuntime", "VProtocol"]),
  tests(
    "VFileServerTests",
    ["VFileServer", "VObjects", "VStore", "VLinuxStore", "VRuntime", "VProtocol"]),
  tests("VPipeServerTests", ["VPipeServer", "VProtocol", "NetworkFaults"]),
  tests("VDirectoryTests", ["VDirectory", "VProtocol"]),
  tests("VGroupServerTests", ["VGroupServer", "VObjects", "VRuntime", "VProtocol"]),
  tests("VTeamServerTests", ["VTeamServer", "VObjects", "VStore", "VProtocol"]),
  tests(
    "Simulation",
    [
      "VClient", "VStandIn", "VNode", "VKernel", "VTransport", "VRuntime", "VDirectory",
      "VFileServer",
      "VLinuxStore",
      "VObjects", "VStore", "VKernelServers", "VPipeServer", "VTeamServer", "VRAMServer",
      "VGroupServer", "VRecording", "VProtocol", "NetworkFaults", "Replaying",
    ]),
  tests(
    "Attack",
    [
      "VNode", "VKernel", "VTransport", "VRuntime", "VDirectory", "VFileServer", "VObjects",
      "VStore", "VKernelServers", "VPipeServer", "VTeamServer", "VRAMServer", "VGroupServer",
      "VProtocol", "NetworkFaults", "Fixtures",
    ]),
  tests(
    "VAttachTests",
    ["VAttach", "VNode", "VKernelServers", "VRuntime", "VProtocol", "Fixtures"]),
  tests(
    "VLinuxProgramsTests",
    [
      "VLinuxPrograms", "VKeeping", "VLinuxStore", "VStore", "VNode", "VRuntime", "VProtocol",
      "CVLinux", "vkeep",
    ]),
  tests("LabTests", [], exclude: ["tools"]),
  tests("TidyTests", []),
]

/// What servers and clients that are no part of V are written with.
let libraries: [Product] = ["VProtocol", "VRuntime", "VObjects", "VClient", "VAttach"].map {
  .library(name: $0, targets: [$0])
}

let package = Package(
  name: "v",
  products: libraries + [
    .executable(name: "vnode", targets: ["vnode"]),
    .executable(name: "v", targets: ["v"]),
    .executable(name: "vkeep", targets: ["vkeep"]),
    .executable(name: "vbench", targets: ["vbench"]),
  ],
  dependencies: [
    .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: system + programs + testing)
