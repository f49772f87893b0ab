// swift-tools-version: 6.2
import PackageDescription

// A server and a client that are no part of V: its libraries are all that they know of it.
let package = Package(
  name: "board",
  dependencies: [.package(name: "v", path: "../..")],
  targets: [
    .executableTarget(
      name: "board",
      dependencies: [
        .product(name: "VAttach", package: "v"), .product(name: "VObjects", package: "v"),
        .product(name: "VRuntime", package: "v"), .product(name: "VProtocol", package: "v"),
        .executableTarget(
      name: "tickets",
      dependencies: [
        .product(name: "VAttach", package: "v"), .product(name: "VRuntime", package: "v"),
        .product(name: "VProtocol", package: "v"),
      ]),
  ]),
    .executableTarget(
      name: "post",
      dependencies: [
        .product(name: "VAttach", package: "v"), .product(name: "VClient", package: "v"),
        .product(name: "VRuntime", package: "v"), .product(name: "VProtocol", package: "v"),
      ]),
  ])
