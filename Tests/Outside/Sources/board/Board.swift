import Glibc
import Synchronization
import VAttach
import VObjects
import VProtocol
import VRuntime

/// A notice board: `PREFIX/notes` shows what was written to it, with the name of the writer.
///
///     v serve -- ./board &
///     echo "gone to lunch" >/v/board/kea/notes; cat /v/board/kea/notes
@main
enum Board {
  private static let notesMax = 100

  static func main() throws {
    let node = try AttachedBackplane()
    let prefix = getenv("V_PREFIX").map { String(cString: $0) } ?? "board/\(node.host)"
    let notes = Mutex<[String]>([])
    let text = TreeText(
      access: TreeAccess(permissions: 0o666),
      command: { line, done in
        notes.withLock { notes in
          notes.append("\(line.caller.principal): \(line.text)\n")
          if notes.count > notesMax { notes.removeFirst() }
        }
        done(nil)
      }
    ) {
      notes.withLock { $0.joined() }
    }
    let manager = TreeManager(
      node, TreeContext([(name: "notes", object: .text(text))]), prefix: prefix)
    manager.claim(in: NameSpace(of: node.kernel).directory) { code in
      guard !code.isOK else { return }
      print("board: \(prefix) is not served: \(code)")
      exit(1)
    }
    node.whenDetached { exit(0) }
    while true { pause() }
  }
}
