import Synchronization
public import VProtocol
public import VRuntime

/// The manager of this host's pipes: `pipe/<host>/<name>`.
///
/// Outside the kernel, as V had it: two clients meet at a name, and a request that must wait is
/// simply not answered yet.
public final class PipeServer: Sendable {
  public let server: EntityID
  private let backplane: any Backplane
  private let operations: PipeOperations
  private let claims: PrefixClaims

  public init(_ backplane: any Backplane) {
    let operations = PipeOperations(backplane)
    self.backplane = backplane
    self.operations = operations
    let prefix = Array("pipe/\(backplane.host)".utf8)
    let claims = PrefixClaims(backplane, [(name: prefix, context: PipeOperations.root)])
    self.claims = claims
    server = backplane.makeServer(knowsPrincipals: true) { request in
      if request.message.mcb.code == SpreadClaims.code { return claims.handleLoss(request) }
      if request.message.mcb.code == ListInstances.code {
        return backplane.serveInstances(operations.board.lines(of: request.server), request)
      }
      operations.serve(request)
    }
    claims.answer(for: server)
  }

  /// Claims `pipe/<host>` in this host's directory and answers for it in the name handling group;
  /// `completion` is called once, and again with `duplicateName` if it is lost to a newer claim.
  ///
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    claims.claim(in: directory) { _, code in completion(code) }
  }

  /// Every open instance as a line: its number, this manager, its owner, its host, how it was
  /// opened, and the pipe.
  public var instancesText: String { operations.board.lines(of: server) }

  /// Requests that have not been answered.
  package var waitCount: Int { operations.board.look { $0.pending.count } }
}
