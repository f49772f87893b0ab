// swift-tools-version: 6.2
import PackageDescription

// A server and a client outside of V's tree: they use nothing of V but its libraries.
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
