import Synchronization
public import VProtocol
import VRuntime

/// Which of its prefixes the server really has.
struct Claims: Sendable {
  /// The entity that takes all operations.
  var manager = EntityID.none
  /// Exports whose prefix another host has.
  var refused: Set<Int> = []
  /// Who is told what became of a claim.
  var observer: (@Sendable (Export, ReplyCode) -> Void)?
}

extension FileServer {
  /// Claims the prefix of every export in this host's directory; `completion` is called for each,
  /// and once more with `duplicateName` for one that is lost later to a newer claim.
  ///
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (Export, ReplyCode) -> Void
  ) {
    let manager = claims.withLock { claims in
      claims.observer = completion
      return claims.manager
    }
    for number in exports.indices {
      let export = exports[number]
      let client = backplane.makeClient(user: "root")
      backplane.send(
        ClaimName(prefix: export.prefix, context: exports.root(number), manager: manager),
        from: client, to: directory
      ) { [self] answer in
        backplane.retire(client)
        var code = ReplyCode.ok
        if case .refused(let refusal) = answer { code = refusal }
        claims.withLock { claims in
          if code.isOK { claims.refused.remove(number) }
          if code == .duplicateName { claims.refused.insert(number) }
        }
        completion(export, code)
      }
    }
  }

  /// The directory of this host tells of claims that are newer than this server's.
  func handleLoss(_ request: Request) {
    guard request.isLocal, request.principal?.user == "root",
      request.message.mcb.flags.contains(.datagram),
      let news = try? SpreadClaims(parsing: request.message)
    else { return backplane.refuse(.illegalRequest, request) }
    for claim in news.claims {
      guard let number = exports.indices.first(where: { exports[$0].prefix == claim.prefix })
      else { continue }
      let observer = claims.withLock { claims in
        claims.refused.insert(number).inserted ? claims.observer : nil
      }
      observer?(exports[number], .duplicateName)
    }
  }

  /// Whether the prefix of an export is this server's.
  func holds(_ number: Int) -> Bool { claims.withLock { !$0.refused.contains(number) } }
}
