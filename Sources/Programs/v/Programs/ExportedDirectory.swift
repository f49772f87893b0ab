import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// A directory of this host as other hosts see it: below this host's exports.
enum ExportedDirectory {
  /// The path in which a program on `host` starts, for a path of this host.
  ///
  /// The path of an exported directory is below `/v/storage/<this host>`. To find the export, the
  /// file server is asked for the longest end of the path that is the same directory there.
  static func path(_ path: [UInt8], for host: String, _ session: Session) -> [UInt8] {
    var own = stat()
    let mount = Array("/v/".utf8)
    guard host != session.node.host, !path.starts(with: mount),
      stat(String(decoding: path, as: UTF8.self), &own) == 0
    else { return path }
    let parts = path.split(separator: UInt8(ascii: "/"))
    for start in 0...parts.count {
      let name = ([Array("storage/\(session.node.host)".utf8)] + parts[start...].map { Array($0) })
        .joined(separator: [UInt8(ascii: "/")])
      let query = QueryObject(ContextName(NameSpace(of: session.node.kernel).root, Array(name)))
      guard
        let found = try? session.send(query, to: session.directory, limit: .seconds(1)),
        found.kind.isContext, isSame(found, own)
      else { continue }
      return mount + name
    }
    return path
  }

  /// Two directories with the same inode number and change time are the same.
  private static func isSame(_ found: Descriptor, _ own: stat) -> Bool {
    let changed = Int64(own.st_ctim.tv_sec) * 1_000_000_000 + Int64(own.st_ctim.tv_nsec)
    return found.identity.inode == own.st_ino && found.changed == changed
  }
}
