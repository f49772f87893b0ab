import Testing
import VClient
import VProtocol

@Suite("The objects that a client knows")
struct ObjectTableTests {
  private static let manager = EntityID(rawValue: 0x1045_0000_0000_0001)

  private func object(_ inode: UInt64, isStream: Bool = false) -> KnownObject.Object {
    KnownObject.Object(
      tree: Tree(prefix: Array("storage/moa".utf8)),
      identity: Descriptor.Identity(device: 1, inode: inode, generation: 0), kind: .context,
      isStream: isStream, manager: Self.manager, context: ContextID(rawValue: inode))
  }

  private func table() -> ObjectTable { ObjectTable(root: object(1)) }

  /// The events of one object below the root.
  private enum Step: CaseIterable { case lookUp, forget, open, close }

  /// All sequences of a length in which nothing is forgotten or closed before it is known or open.
  private func sequences(_ length: Int) -> [[Step]] {
    guard length > 0 else { return [[]] }
    return sequences(length - 1).flatMap { front in
      Step.allCases.map { front + [$0] }.filter { steps in
        let lookups = steps.count { $0 == .lookUp } - steps.count { $0 == .forget }
        let opens = steps.count { $0 == .open } - steps.count { $0 == .close }
        // Only a known object can be opened.
        return lookups >= 0 && opens >= 0 && (steps.last != .open || lookups > 0)
      }
    }
  }

  @Test("an object is known while it is looked up or open, in every order of six events")
  func races() {
    let all = sequences(6)
    #expect(all.count == 286)
    for steps in all {
      let table = table()
      var id: ObjectID = 0
      var seen: Set<ObjectID> = []
      var (lookups, opens) = (0, 0)
      for step in steps {
        let wasKnown = lookups + opens > 0
        switch step {
        case .lookUp:
          let found = table.lookUp(Array("a".utf8), below: ObjectTable.root, as: object(2)).id
          #expect(wasKnown ? found == id : !seen.contains(found), "\(steps)")
          id = found
          seen.insert(id)
          lookups += 1
        case .forget:
          table.forget(id, 1)
          lookups -= 1
        case .open:
          table.countOpen(of: id)
          opens += 1
        case .close:
          table.countClose(of: id)
          opens -= 1
        }
        #expect((table[id] != nil) == (lookups + opens > 0), "\(steps)")
      }
    }
  }

  @Test("a directory is known as long as an object needs it for its name")
  func parents() throws {
    let table = table()
    let directory = table.lookUp(Array("d".utf8), below: ObjectTable.root, as: object(2)).id
    let file = table.lookUp(Array("f".utf8), below: directory, as: object(3)).id
    table.forget(directory, 1)
    #expect(table.fullName(of: file) == Array("d/f".utf8))
    table.forget(file, 1)
    #expect(table[file] == nil && table[directory] == nil)
  }

  @Test("one object has one number and one name, the last; a stream has one for each lookup")
  func names() {
    let table = table()
    let first = table.lookUp(Array("a".utf8), below: ObjectTable.root, as: object(2)).id
    #expect(table.lookUp(Array("b".utf8), below: ObjectTable.root, as: object(2)).id == first)
    #expect(table.fullName(of: first) == Array("b".utf8))
    let streams = (0..<2).map { _ in
      table.lookUp(Array("s".utf8), below: ObjectTable.root, as: object(3, isStream: true)).id
    }
    #expect(streams[0] != streams[1])
  }

  @Test("a rename moves the names, an exchange both, and never a directory into itself")
  func renames() {
    let table = table()
    let root = ObjectTable.root
    let a = table.lookUp(Array("a".utf8), below: root, as: object(2)).id
    let b = table.lookUp(Array("b".utf8), below: a, as: object(3)).id
    table.rename(
      from: (a, Array("b".utf8)), to: (root, Array("a".utf8)), isExchange: true)
    #expect(table.fullName(of: b) == Array("a".utf8))
    // It would be inside itself.
    #expect(table.fullName(of: a) != nil)
    table.rename(from: (root, Array("a".utf8)), to: (root, Array("c".utf8)), isExchange: false)
    #expect(table.fullName(of: b) == Array("c".utf8))
  }

  @Test("forgetting more than was looked up forgets the object, and the root never")
  func excess() {
    let table = table()
    let id = table.lookUp(Array("a".utf8), below: ObjectTable.root, as: object(2)).id
    table.forget(id, 99)
    #expect(table[id] == nil)
    table.forget(id, 1)
    table.forget(ObjectTable.root, 99)
    #expect(table[ObjectTable.root] != nil)
  }
}
