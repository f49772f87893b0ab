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

/// Shipped libraries also mark every unsafe expression.
let library = common + [.strictMemorySafety()]

let package = Package(
  name: "v",
  products: [
    .executable(name: "vnode", targets: ["vnode"]),
    .executable(name: "v", targets: ["v"]),
    .executable(name: "vkeep", targets: ["vkeep"]),
  ],
  dependencies: [
    .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
  ],
  targets: [
    .target(name: "CVLinux"),
    .systemLibrary(name: "CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .target(name: "VProtocol", swiftSettings: library),
    .target(name: "VTransport", dependencies: ["VProtocol"], swiftSettings: library),
    .target(name: "VKernel", dependencies: ["VTransport", "VProtocol"], swiftSettings: library),
    .target(name: "VRuntime", dependencies: ["VProtocol"], swiftSettings: library),
    .target(name: "VStore", dependencies: ["VRuntime", "VProtocol"], swiftSettings: library),
    .target(name: "VObjects", dependencies: ["VRuntime", "VProtocol"], swiftSettings: library),
    .target(name: "VThreads", dependencies: ["CVLinux"], swiftSettings: library),
    .target(
      name: "VNode",
      dependencies: ["VKernel", "VTransport", "VRuntime", "VProtocol", "VThreads", "CVLinux"],
      swiftSettings: library,
      linkerSettings: [.linkedLibrary("crypto")]),
    .target(
      name: "VFileServer", dependencies: ["VObjects", "VStore", "VRuntime", "VProtocol"],
      swiftSettings: library),
    .target(
      name: "VLinuxStore",
      dependencies: ["VStore", "VRuntime", "VProtocol", "VThreads", "CVLinux"],
      swiftSettings: library),
    .target(
      name: "VKernelServers", dependencies: ["VObjects", "VRuntime", "VProtocol"],
      swiftSettings: library),
    .target(
      name: "VDirectory", dependencies: ["VObjects", "VRuntime", "VProtocol"],
      swiftSettings: library),
    .target(
      name: "VGroupServer", dependencies: ["VObjects", "VRuntime", "VProtocol"],
      swiftSettings: library),
    .target(
      name: "VRAMServer", dependencies: ["VObjects", "VRuntime", "VProtocol"],
      swiftSettings: library),
    .target(
      name: "VPipeServer", dependencies: ["VObjects", "VRuntime", "VProtocol"],
      swiftSettings: library),
    .target(
      name: "VTeamServer", dependencies: ["VObjects", "VStore", "VRuntime", "VProtocol"],
      swiftSettings: library),
    .target(
      name: "VMount", dependencies: ["VRuntime", "VProtocol", "CVLinux", "CFuse3"],
      swiftSettings: library),
    .target(
      name: "VAttach", dependencies: ["VRuntime", "VProtocol", "VThreads", "CVLinux"],
      swiftSettings: library),
    .target(
      name: "VLinuxPrograms",
      dependencies: ["VStore", "VRuntime", "VProtocol", "VThreads", "CVLinux"],
      swiftSettings: library),
    .executableTarget(
      name: "vkeep", dependencies: ["VLinuxPrograms", "VStore", "VProtocol", "CVLinux"],
      swiftSettings: common),
    .target(
      name: "VServers",
      dependencies: [
        "VFileServer", "VGroupServer", "VLinuxPrograms", "VLinuxStore", "VPipeServer", "VRAMServer",
        "VObjects", "VStore", "VTeamServer", "VRuntime", "VProtocol",
      ],
      swiftSettings: library),
    .target(name: "VRun", swiftSettings: library),
    .executableTarget(
      name: "v",
      dependencies: [
        "VAttach", "VServers", "VFileServer", "VLinuxStore", "VObjects", "VStore", "VTeamServer",
        "VRun", "VRuntime", "VProtocol",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: common),
    .executableTarget(
      name: "vnode",
      dependencies: [
        "VNode", "VServers", "VObjects", "VKernelServers", "VDirectory", "VFileServer",
        "VLinuxStore", "VTeamServer", "VMount", "VAttach", "VRuntime", "VProtocol",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "TOMLKit", package: "TOMLKit"),
      ],
      swiftSettings: common),
    .target(
      name: "Fixtures", dependencies: ["VProtocol"], path: "Tests/Fixtures",
      exclude: ["vmtp", "seal.py"],
      swiftSettings: common),
    .executableTarget(
      name: "vfuzz", dependencies: ["VTeamServer", "VObjects", "VProtocol", "Fixtures"],
      path: "Tests/Fuzz", swiftSettings: common),
    .target(name: "NetworkFaults", path: "Tests/NetworkFaults", swiftSettings: common),
    .executableTarget(
      name: "vswitch", dependencies: ["NetworkFaults"], path: "Tests/Switch",
      swiftSettings: common),
    .testTarget(
      name: "VProtocolTests", dependencies: ["VProtocol", "Fixtures"], swiftSettings: common),
    .testTarget(
      name: "VTransportTests", dependencies: ["VTransport", "VProtocol", "NetworkFaults"],
      swiftSettings: common),
    .testTarget(
      name: "VKernelTests", dependencies: ["VKernel", "VTransport", "VProtocol"],
      swiftSettings: common),
    .testTarget(
      name: "VNodeTests",
      dependencies: ["VNode", "VTransport", "VRuntime", "VProtocol", "Fixtures"],
      swiftSettings: common),
    .testTarget(
      name: "VMountTests",
      dependencies: ["VMount", "VNode", "VDirectory", "VRuntime", "VProtocol"],
      swiftSettings: common),
    .testTarget(
      name: "VRunTests", dependencies: ["VRun", "VTeamServer", "VObjects", "VStore", "VProtocol"],
      swiftSettings: common),
    .testTarget(name: "VRuntimeTests", dependencies: ["VRuntime"], swiftSettings: common),
    .testTarget(
      name: "VFileServerTests",
      dependencies: ["VFileServer", "VObjects", "VStore", "VLinuxStore", "VRuntime", "VProtocol"],
      swiftSettings: common),
    .testTarget(
      name: "VPipeServerTests", dependencies: ["VPipeServer", "VProtocol", "NetworkFaults"],
      swiftSettings: common),
    .testTarget(
      name: "VDirectoryTests", dependencies: ["VDirectory", "VProtocol"], swiftSettings: common),
    .testTarget(
      name: "VGroupServerTests",
      dependencies: ["VGroupServer", "VObjects", "VRuntime", "VProtocol"],
      swiftSettings: common),
    .testTarget(
      name: "VTeamServerTests", dependencies: ["VTeamServer", "VObjects", "VStore", "VProtocol"],
      swiftSettings: common),
    .testTarget(
      name: "Simulation",
      dependencies: [
        "VNode", "VKernel", "VTransport", "VRuntime", "VDirectory", "VFileServer", "VLinuxStore",
        "VObjects", "VStore", "VKernelServers", "VPipeServer", "VTeamServer", "VRAMServer",
        "VGroupServer", "VProtocol",
        "NetworkFaults",
      ],
      swiftSettings: common),
    .testTarget(
      name: "Attack",
      dependencies: [
        "VNode", "VKernel", "VTransport", "VRuntime", "VDirectory", "VFileServer", "VObjects",
        "VStore", "VKernelServers", "VPipeServer", "VTeamServer", "VRAMServer", "VGroupServer",
        "VProtocol", "NetworkFaults", "Fixtures",
      ],
      swiftSettings: common),
    .testTarget(
      name: "VAttachTests",
      dependencies: ["VAttach", "VNode", "VKernelServers", "VRuntime", "VProtocol"],
      swiftSettings: common),
    .testTarget(
      name: "VLinuxProgramsTests",
      dependencies: [
        "VLinuxPrograms", "VLinuxStore", "VStore", "VNode", "VRuntime", "VProtocol", "CVLinux",
        "vkeep",
      ],
      swiftSettings: common),
    .testTarget(name: "LabTests", exclude: ["tools"], swiftSettings: common),
    .testTarget(name: "TidyTests", swiftSettings: common),
  ]
)
