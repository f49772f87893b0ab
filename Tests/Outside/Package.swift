// swift-tools-version: 6.2
import PackageDescription

/// What these programs know of V: its libraries.
func program(_ name: String, _ libraries: [String]) -> Target {
  .executableTarget(
    name: name, dependencies: libraries.map { .product(name: $0, package: "v") })
}

// Servers and a client that are no part of V.
let package = Package(
  name: "board",
  dependencies: [.package(name: "v", path: "../..")],
  targets: [
    program("board", ["VAttach", "VObjects", "VRuntime", "VProtocol"]),
    program("post", ["VAttach", "VClient", "VRuntime", "VProtocol"]),
    program("tickets", ["VAttach", "VObjects", "VRuntime", "VProtocol"]),
  ])
