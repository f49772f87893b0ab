import Foundation
import Testing
import VFileServer
import VProtocol
import VRuntime

@Suite("Finding and reading files")
struct ReadingTests {
  @Test("the name handling group gets answers for our prefixes and for names that lead to them")
  func queryName() throws {
    let served = try Served()
    func ask(_ text: String) throws -> QueryName.Answer {
      try served.backplane.exchange(
        QueryName(ContextName(.none, Array(text.utf8))), to: .nameHandlingGroup, as: nil)
    }
    let long = try ask("storage/kea/a/b")
    #expect(long.manager == served.manager && long.context == served.root)
    #expect(long.prefixBytes == 11 && long.kind == .context)
    for (text, count) in [("", 0), ("storage", 7)] {
      let shared = try ask(text)
      #expect(shared.kind == .sharedContext && shared.context == .none)
      #expect(shared.prefixBytes == count)
    }
    let skipped = try served.backplane.exchange(
      QueryName(ContextName(.none, Array("v/storage/kea/a".utf8), index: 2)),
      to: .nameHandlingGroup, as: nil)
    #expect(skipped.prefixBytes == 13)
  }

  @Test(
    "the group gets no answer for other names and other operations",
    arguments: ["storage/moa", "storage/keas", "stor", "storage/ke", "src", "storage/"])
  func silence(text: String) throws {
    let served = try Served()
    let query = QueryName(ContextName(.none, Array(text.utf8)))
    #expect(
      served.backplane.exchange(
        query.message, to: .nameHandlingGroup, as: nil, waitSeconds: 0.05) == nil)
    #expect(
      served.backplane.exchange(
        QueryObject(served.name("")).message, to: .nameHandlingGroup, as: nil, waitSeconds: 0.05)
        == nil)
    #expect(served.code(query) == .notFound)
  }

  @Test("describes an object and grants one context for it, whatever its name")
  func queryObject() throws {
    let served = try Served()
    try FileManager.default.createDirectory(
      atPath: served.path + "/d/e", withIntermediateDirectories: true)
    try served.put("hello", at: "d/e/f")
    link(served.path + "/d/e/f", served.path + "/g")
    let file = try served.ask(QueryObject(served.name("d/e/f")))
    #expect(file.kind == .file && file.size == 5 && file.links == 2 && file.name == Array("f".utf8))
    #expect(file.modified > 1_600_000_000_000_000_000 && file.identity.generation != 0)
    let directory = try served.ask(QueryObject(served.name("d")))
    #expect(directory.kind == .context)
    let again = try served.ask(QueryObject(served.name("e/f", in: directory.context)))
    #expect(again.context == file.context)
    #expect(try served.ask(QueryObject(served.name("g"))).context == file.context)
    let same = try served.ask(QueryObject(served.name("", in: file.context)))
    #expect(same.identity == file.identity)
    #expect(try served.ask(QueryObject(served.name(""))).context == served.root)
    let behindPrefix = ContextName(served.root, Array("storage/kea/g".utf8), index: 11)
    #expect(try served.ask(QueryObject(behindPrefix)).identity == file.identity)
  }

  @Test("a file that replaces a removed one is another object")
  func identity() throws {
    let served = try Served()
    try served.put("1", at: "f")
    let first = try served.ask(QueryObject(served.name("f"))).identity
    for _ in 0..<20 {
      try FileManager.default.removeItem(atPath: served.path + "/f")
      try served.put("2", at: "f")
      #expect(try served.ask(QueryObject(served.name("f"))).identity != first)
    }
  }

  @Test("reads octets by position; fewer than wanted is the end")
  func read() throws {
    let served = try Served()
    let text = String(repeating: "0123456789", count: 2000)
    try served.put(text, at: "f")
    let instance = try served.open("f", .read)
    #expect(try served.read(instance, count: 1_000_000) == String(text.prefix(16_384)))
    #expect(try served.read(instance, at: 19_995) == "56789")
    #expect(try served.read(instance, at: 20_000) == "")
    #expect(try served.read(instance, at: 3, count: 4) == "3456")
    #expect(served.code(ReadInstance(instance, position: .max, count: 1)) == .badBlockNumber)
    #expect(
      served.code(WriteInstance(instance, position: 0, data: [1])) == .notWriteable)
    _ = try served.ask(ReleaseInstance(instance))
    #expect(served.code(ReadInstance(instance, position: 0, count: 1)) == .invalidFileID)
    #expect(served.code(ReleaseInstance(instance)) == .ok)
  }

  @Test("data in memory are answered at once, without a disk thread")
  func atOnce() throws {
    let served = try Served()
    try served.put("hello", at: "f")
    _ = try served.ask(QueryObject(served.name("f")))
    let before = served.backplane.diskJobs
    _ = try served.ask(QueryObject(served.name("f")))
    let instance = try served.open("f", .read)
    #expect(try served.read(instance) == "hello")
    _ = try served.ask(QueryInstance(instance))
    _ = try served.ask(ReleaseInstance(instance))
    #expect(served.backplane.diskJobs == before)
  }

  @Test("lists every name once, whole descriptors at a time", arguments: [256, 1000, 16_384])
  func list(count: Int) throws {
    let served = try Served()
    for number in 0..<300 { try served.put("", at: "file-\(number)") }
    mkdir(served.path + "/directory", 0o755)
    symlink("file-1", served.path + "/link")
    let found = try served.list("", count: count)
    let names = found.map { String(decoding: $0.name, as: UTF8.self) }
    #expect(names.count == 302 && Set(names).count == 302)
    #expect(found.first { $0.name == Array("directory".utf8) }?.kind == .context)
    #expect(found.first { $0.name == Array("link".utf8) }?.kind == .symbolicLink)
    let file = try served.ask(QueryObject(served.name("file-7")))
    #expect(found.first { $0.name == file.name }?.identity.inode == file.identity.inode)
  }

  @Test("a directory needs room for one descriptor, and is not a file")
  func directory() throws {
    let served = try Served()
    try served.put("", at: "f")
    let instance = try served.open("", .directory)
    #expect(served.code(ReadInstance(instance, position: 0, count: 100)) == .badByteCount)
    #expect(served.code(CreateInstance(served.name(""), mode: .read)) == .isContext)
    #expect(served.code(CreateInstance(served.name("f"), mode: .directory)) == .notContext)
    #expect(served.code(CreateInstance(served.name("f"), mode: [])) == .modeNotSupported)
  }

  @Test("reads links, tells the free space, answers unknown codes")
  func others() throws {
    let served = try Served()
    symlink("/etc/passwd", served.path + "/link")
    try served.put("", at: "f")
    let target = try served.ask(ReadLink(served.name("link"))).data
    #expect(String(decoding: target, as: UTF8.self) == "/etc/passwd")
    #expect(served.code(ReadLink(served.name("f"))) == .badArguments)
    let room = try served.ask(QueryStore(served.name("")))
    #expect(room.blocks > 0 && room.nameBytesMax == 255)
    let unknown = Message(MessageControlBlock(code: 0x123456))
    #expect(
      served.backplane.exchange(unknown, to: served.manager, as: Served.local)?.reply
        == .illegalRequest)
    #expect(served.code(QueryObject(ContextName(.none))) == .invalidContext)
  }
}
