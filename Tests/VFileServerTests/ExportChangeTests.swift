import Foundation
import Testing
import VFileServer
import VLinuxStore
import VProtocol

@Suite("Exports whose directories come and go")
struct ExportChangeTests {
  /// A served path that does not exist yet.
  private final class Place {
    let folder = NSTemporaryDirectory() + "v-exports-\(UInt64.random(in: 0 ... .max))"
    let backplane = TestBackplane()
    let server: FileServer
    let name = Array("disk".utf8)
    var path: String { folder + "/disk" }

    init() throws {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true)
      server = try FileServer(
        backplane, store: try LinuxStore(), users: TestUsers(),
        exports: [Export(prefix: name, path: folder + "/disk", rootHosts: ["*"])])
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func make(_ file: String) throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      try "text".write(toFile: "\(path)/\(file)", atomically: false, encoding: .utf8)
    }

    /// The answer's code for a file of the export, a moment later.
    func code(of file: String, later: Bool = true) throws -> ReplyCode {
      if later { backplane.pass(.seconds(2)) }
      let found = try backplane.exchange(
        QueryName(ContextName(.none, name)), to: .nameHandlingGroup, as: nil)
      let query = QueryObject(ContextName(found.context, Array(file.utf8)))
      return backplane.exchange(query.message, to: found.manager, as: Served.local)?.reply
        ?? .userTimeout
    }
  }

  @Test("a directory that is absent at the start is served when it exists")
  func absent() throws {
    let place = try Place()
    #expect(try place.code(of: "first") == .noDevice)
    try place.make("first")
    #expect(try place.code(of: "first", later: false) == .noDevice, "not looked at each time")
    #expect(try place.code(of: "first") == .ok)
  }

  @Test("a directory that is made again replaces the old one")
  func anew() throws {
    let place = try Place()
    try place.make("first")
    #expect(try place.code(of: "first") == .ok)
    try FileManager.default.moveItem(atPath: place.path, toPath: place.folder + "/old")
    #expect(try place.code(of: "first") == .noDevice)
    try place.make("second")
    #expect(try place.code(of: "first") == .notFound)
    #expect(try place.code(of: "second") == .ok)
  }

  @Test("a link in place of the directory is not followed")
  func link() throws {
    let place = try Place()
    try place.make("first")
    #expect(try place.code(of: "first") == .ok)
    let old = place.folder + "/old"
    try FileManager.default.moveItem(atPath: place.path, toPath: old)
    try FileManager.default.createSymbolicLink(atPath: place.path, withDestinationPath: old)
    #expect(try place.code(of: "first") == .noDevice)
  }

  @Test("a removed export is refused, and is served again under its old number")
  func change() throws {
    let place = try Place()
    try place.make("first")
    let other = Export(prefix: Array("other".utf8), path: place.folder)
    try place.server.change(to: [other])
    #expect(throws: (any Error).self) { try place.code(of: "first") }
    for _ in 0..<(2 * Export.exportsMax) {
      try place.server.change(
        to: [other, Export(prefix: place.name, path: place.path, rootHosts: ["*"])])
      try place.server.change(to: [other])
    }
    try place.server.change(
      to: [other, Export(prefix: place.name, path: place.path, rootHosts: ["*"])])
    #expect(try place.code(of: "first") == .ok)
  }

  @Test("when there have been too many, nothing changes")
  func tooMany() throws {
    let place = try Place()
    try place.make("first")
    let own = Export(prefix: place.name, path: place.path, rootHosts: ["*"])
    let others = (1..<Export.exportsMax).map {
      Export(prefix: Array("other\($0)".utf8), path: place.folder)
    }
    try place.server.change(to: [own] + others)
    #expect(throws: ExportFailure.self) {
      try place.server.change(to: [Export(prefix: Array("more".utf8), path: place.folder)])
    }
    #expect(try place.code(of: "first") == .ok)
  }
}
