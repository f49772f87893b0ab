import VAttach
import VClient
import VProtocol
import VRuntime

/// Writes a line to a text of V, then prints the text: `post board/kea/notes "a note"`.
@main
enum Post {
  static func main() async throws {
    let arguments = CommandLine.arguments
    guard arguments.count == 3 else { fatalError("usage: post NAME LINE") }
    let node = try AttachedBackplane()
    let user = ClientUser(own: node.user)
    let client = Client(node, NameSpace(of: node.kernel), as: user)
    do throws(Refusal) {
      var text = try await client.open(arguments[1], .write, as: user)
      try await text.write(Array("\(arguments[2])\n".utf8))
      text.close()
      text = try await client.open(arguments[1], .read, as: user)
      print(String(decoding: try await text.readAll(), as: UTF8.self), terminator: "")
      text.close()
    } catch {
      fatalError("\(arguments[1]): \(error.code) \(error.words)")
    }
  }
}
