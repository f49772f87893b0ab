import Synchronization
public import VProtocol
import VRuntime

/// Which of its prefixes the server really has.
struct Claims: Sendable {
  /// The entity that takes all operations.
  var manager = EntityID.none
  /// Exports whose prefix another host has.
  var refused: Set<Int> = []
}

extension FileServer {
  /// Claims the prefix of every export in this host's directory; `completion` is called for each.
  ///
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (Export, ReplyCode) -> Void
  ) {
    let manager = claims.withLock { $0.manager }
    for number in exports.indices {
      let export = exports[number]
      let client = backplane.makeClient(user: "root")
      backplane.send(
        ClaimName(prefix: export.prefix, context: exports.root(number), manager: manager),
        from: client, to: directory
      ) { [self] answer in
        backplane.retire(client)
        guard case .refused(let code) = answer else { return completion(export, .ok) }
        if code == .duplicateName { claims.withLock { _ = $0.refused.insert(number) } }
        completion(export, code)
      }
    }
  }

  /// Whether the prefix of an export is this server's.
  func holds(_ number: Int) -> Bool { claims.withLock { !$0.refused.contains(number) } }
}
