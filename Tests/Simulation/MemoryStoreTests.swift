import Foundation
import Testing
import VFileServer
import VLinuxStore
import VProtocol
import VStore

/// Does the same steps on a directory of the real disk and on a disk in memory.
private struct Pair {
  static let users = [
    Credentials.root, Credentials(uid: 2001, gid: 2001, groups: [3000]),
    Credentials(uid: 2002, gid: 2002, groups: [3000]), .nobody,
  ]
  static let names = ["a", "b", "c", "d"].map { Array($0.utf8) }

  let stores: [any FileStore]
  /// Each in both stores.
  var objects: [[StoreHandle]]
  var files: [(handles: [StoreHandle], mode: OpenMode)] = []

  init(_ path: String) throws {
    stores = [try LinuxStore(), MemoryStore()]
    objects = [try stores.map { try $0.openRoot(path) }]
  }

  /// The results of one step in both stores.
  mutating func step(_ random: inout Numbers) -> [String] {
    let who = Self.users[random.below(Self.users.count)]
    let name = Self.names[random.below(4)]
    let otherName = Self.names[random.below(4)]
    let object = objects[random.below(objects.count)]
    let other = objects[random.below(objects.count)]
    let permissions = [0o777, 0o755, 0o700, 0o644, 0o750, 0o666][random.below(6)]
    switch random.below(14) {
    case 0:
      let made = stores.indices.map { at in
        Result {
          try stores[at].create(
            name, in: object[at], [.read, .write], permissions: UInt32(permissions), as: who)
        }
      }
      return keep(made, [.read, .write])
    case 1, 2:
      let found = stores.indices.map { at in
        Result { try stores[at].lookUp(RelativePath(name), in: object[at], as: who, .mayWait) }
      }
      if let handles = try? found.map({ try $0.get() }) { objects.append(handles) }
      return found.map(Self.outcome)
    case 3:
      return both {
        try $0.add(name, in: object[$1], .directory(permissions: UInt32(permissions)), as: who)
      }
    case 4:
      return both { try $0.add(name, in: object[$1], .symbolicLink(target: otherName), as: who) }
    case 5:
      return both { try $0.add(name, in: object[$1], .link(to: other[$1]), as: .root) }
    case 6:
      let isDirectory = random.below(2) == 0
      return both { try $0.remove(name, in: object[$1], isDirectory: isDirectory, as: who) }
    case 7:
      let mode = [RenameObject.Mode.replace, .noReplace, .exchange][random.below(3)]
      return both {
        try $0.rename(name, in: object[$1], to: otherName, in: other[$1], mode, as: who)
      }
    case 8:
      var change = Change()
      change.permissions = UInt32(permissions)
      return both { try $0.change(object[$1], isOpenFile: false, change, as: who) }
    case 9:
      let mask = UInt32(random.below(8))
      return both { try $0.checkAccess(object[$1], mask: mask, as: who) }
    case 10:
      let isFile = (try? stores[1].describe(object[1]).kind) == .file
      guard isFile else { return [] }
      let mode = [OpenMode.read, .write, [.write, .append], [.write, .truncate]][random.below(4)]
      let opened = stores.indices.map { at in
        Result { try stores[at].open(object[at], mode, as: who, .mayWait) }
      }
      return keep(opened, mode)
    case 11, 12:
      guard !files.isEmpty else { return [] }
      let file = files[random.below(files.count)]
      guard file.mode.contains(.write) else { return [] }
      let data = [UInt8](repeating: UInt8(random.below(256)), count: random.below(3000))
      let position = UInt64(random.below(5000))
      return both {
        try $0.write(file.handles[$1], data, at: position, file.mode, as: who, .mayWait)
      }
    default:
      guard !files.isEmpty else { return [] }
      let file = files[random.below(files.count)]
      guard file.mode.contains(.read) else { return [] }
      let position = UInt64(random.below(5000))
      return both { try $0.read(file.handles[$1], at: position, count: 2000, .mayWait) }
    }
  }

  private mutating func keep(
    _ made: [Result<StoreHandle, any Error>], _ mode: OpenMode
  ) -> [String] {
    if let handles = try? made.map({ try $0.get() }) { files.append((handles, mode)) }
    return made.map(Self.outcome)
  }

  private func both<Value>(_ body: (any FileStore, Int) throws -> Value) -> [String] {
    stores.indices.map { at in
      switch Result(catching: { try body(stores[at], at) }) {
      case .success(let value): "\(value)"
      case .failure(let error): "\(error)"
      }
    }
  }

  private static func outcome(_ result: Result<StoreHandle, any Error>) -> String {
    switch result {
    case .success: "ok"
    case .failure(let error): "\(error)"
    }
  }

  /// The comparable attributes of a found object.
  func descriptions() -> [[String]] {
    objects.map { handles in
      both { store, at in
        let state = try store.describe(handles[at])
        // A directory's size depends on the file system.
        let size = state.kind == .context ? 0 : state.size
        return "\(state.kind) \(state.permissions) \(state.uid) \(state.gid) \(state.links) \(size)"
      }
    }
  }
}

/// Repeatable numbers.
private struct Numbers {
  var state: UInt64
  mutating func below(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }
}

@Suite("The disk in memory")
struct MemoryStoreTests {
  @Test(
    "answers as Linux does, step by step", .enabled(if: getuid() == 0),
    arguments: 1...UInt64(20))
  func agrees(seed: UInt64) throws {
    let path = NSTemporaryDirectory() + "v-memory-\(UInt64.random(in: 0 ... .max))"
    mkdir(path, 0o777)
    chmod(path, 0o777)
    defer { try? FileManager.default.removeItem(atPath: path) }
    var pair = try Pair(path)
    var random = Numbers(state: seed)
    for step in 0..<500 {
      let outcomes = pair.step(&random)
      try #require(outcomes.first == outcomes.last, "step \(step) of seed \(seed)")
      for both in pair.descriptions() {
        try #require(both.first == both.last, "after step \(step) of seed \(seed)")
      }
    }
  }
}
