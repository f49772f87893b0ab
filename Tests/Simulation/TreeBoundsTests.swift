import Testing
import VNode
import VObjects
import VProtocol
import VRAMServer
import VRuntime

@Suite("Bounds of a tree's state, in the simulator")
struct TreeBoundsTests {
  private let simulator = Simulator(seed: 19)
  private let moa: Node
  private let kea: Node

  init() {
    moa = simulator.start("moa")
    kea = simulator.start("kea")
  }

  @Test("the octets of open texts and listings count in their principal's share")
  func octets() throws {
    let text = String(repeating: "x", count: 1 << 20)
    let bell = TreeText { "short" }
    let manager = TreeManager(
      moa, TreeContext([("large", .text(TreeText { text })), ("small", .text(bell))]))
    let ann = TreeAsker(kea, of: manager.server, simulator)
    let bob = TreeAsker(kea, of: manager.server, simulator, as: "bob")
    let held = (0..<16).compactMap { _ in ann.open("large", .read) }
    #expect(held.count == 16)
    for (name, mode) in [("large", OpenMode.read), ("small", .read), ("", [.read, .directory])] {
      #expect(
        ann.code(CreateInstance(ann.name(name), mode: mode)) == .noServerResources, "\(name)")
    }
    // The reserved places have been given back, and others have their own shares.
    #expect(manager.instanceCount == 16)
    #expect(bob.text("small") == "short" && bob.names("") == ["large", "small"])
    #expect(bob.open("large", .read) != nil)
    #expect(ann.code(ReleaseInstance(held[0])) == .ok)
    #expect(ann.text("small") == "short" && ann.open("large", .read) != nil)
  }

  @Test("no name is deeper than 128 contexts, from whatever context it starts")
  func depth() throws {
    let server = RAMFileServer(moa, prefix: "ram")
    let ann = TreeAsker(kea, of: server.manager.server, simulator)
    func add(_ name: ContextName) -> ReplyCode? {
      ann.code(AddName(name, kind: .context, permissions: 0o755))
    }
    let path = { Array(repeating: "d", count: $0).joined(separator: "/") }
    for depth in 1...128 { #expect(add(ann.name(path(depth))) == .ok) }
    #expect(add(ann.name(path(129))) == .nameTooLong)
    guard case .done(let last, _) = ann.ask(QueryObject(ann.name(path(128)))) else {
      Issue.record("the last is not there")
      return
    }
    #expect(add(ContextName(last.context, Array("d".utf8))) == .nameTooLong)
  }

  @Test("an object with a long name hides nothing in the list of instances")
  func longNames() throws {
    let component = Name(Array(repeating: UInt8(ascii: "n"), count: 255))
    var object = TreeObject.text(TreeText { "short" })
    for _ in 0..<100 { object = .context(TreeContext([(component, object)])) }
    guard case .context(let root) = object else { return }
    let manager = TreeManager(moa, root)
    let ann = TreeAsker(kea, of: manager.server, simulator)
    let part = Array(Array(repeating: component.octets, count: 10).joined(separator: [0x2F]))
    var context = ContextID.none
    for _ in 0..<9 {
      guard case .done(let found, _) = ann.ask(QueryObject(ContextName(context, part))) else {
        Issue.record("a context is not there")
        return
      }
      context = found.context
    }
    let long = CreateInstance(ContextName(context, part), mode: .read)
    let second = CreateInstance(ann.name(""), mode: [.read, .directory])
    #expect(ann.code(long) == .ok && ann.code(second) == .ok)
    var lines: [Substring] = []
    var start: UInt64 = 0
    while case .done(let page, _) = ann.ask(ListInstances(from: start)), !page.data.isEmpty {
      start = page.next
      lines += String(decoding: page.data, as: UTF8.self).split(separator: "\n")
    }
    #expect(lines.count == 2 && lines.last?.hasSuffix(" .") == true)
  }

  @Test("a list of open instances misses nothing that stays open, whatever is closed meanwhile")
  func pages() throws {
    let file = TreeObject.text(TreeText { "short" })
    let manager = TreeManager(moa, TreeContext([(Name(Array(repeating: 0x6E, count: 255)), file)]))
    let ann = TreeAsker(kea, of: manager.server, simulator)
    let long = String(repeating: "n", count: 255)
    let instances = (0..<200).compactMap { _ in ann.open(long, .read) }
    #expect(instances.count == 200)
    var (lines, start) = (0, UInt64(0))
    while case .done(let page, _) = ann.ask(ListInstances(from: start)), !page.data.isEmpty {
      #expect(page.next > start)
      start = page.next
      lines += page.data.count { $0 == 0x0A }
      // All that was listed is closed before the next question.
      for instance in instances[..<lines] { #expect(ann.code(ReleaseInstance(instance)) == .ok) }
    }
    #expect(lines == 200)
  }
}
