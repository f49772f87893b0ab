public import VProtocol
public import VRuntime

/// A manager of a tree that a board makes up: contexts, live text, links and files of its own, by
/// the same naming and UIO operations as everything else.
///
/// A text is made when it is opened and then stays as it is, so that one reader sees one state; as
/// long as it is open, its size is told as that of what was opened.
public final class TreeManager: Sendable {
  /// The context of the root.
  public static let root = ContextID(rawValue: 1)

  public let server: EntityID
  private let backplane: any Backplane
  private let operations: TreeOperations
  private let claims: PrefixClaims

  /// With a `prefix` the tree can be claimed, and is found by it; else it is found by its server
  /// alone.
  ///
  /// `identify` says as which user of this host a principal is taken: without it as the one of the
  /// same name, and root of another host as nobody. `serve` is shown every request first, and says
  /// whether it has taken it.
  public init(
    _ backplane: any Backplane, _ root: TreeContext, prefix: String? = nil,
    identify: (@Sendable (Principal) -> String)? = nil,
    serve: (@Sendable (Request) -> Bool)? = nil
  ) {
    self.backplane = backplane
    let host = backplane.host
    let operations = TreeOperations(
      backplane, root,
      identify: identify ?? { $0.user == "root" && $0.host != host ? "nobody" : $0.user })
    self.operations = operations
    let names = prefix.map { [(name: Array($0.utf8), context: Self.root)] } ?? []
    let claims = PrefixClaims(backplane, names)
    self.claims = claims
    server = backplane.makeServer(knowsPrincipals: true) { request in
      if request.message.mcb.code == SpreadClaims.code { return claims.handleLoss(request) }
      if request.message.mcb.code == ListInstances.code {
        return backplane.serveInstances(operations.lines(of: request.server), request)
      }
      if let serve, serve(request) { return }
      operations.serve(request)
    }
    if prefix != nil { claims.answer(for: server) }
  }

  /// A manager of texts alone.
  public convenience init(
    _ backplane: any Backplane, texts: [(name: String, text: @Sendable () -> String)]
  ) {
    self.init(backplane, TreeContext(texts.map { ($0.name, .text(TreeText($0.text))) }))
  }

  /// Claims the prefix in this host's directory; `completion` is called once, and again with
  /// `duplicateName` if it is lost to a newer claim.
  ///
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    claims.claim(in: directory) { _, code in completion(code) }
  }

  /// Every open instance as a line: its number, the manager, its owner, its host, how it was
  /// opened, and the name of the object below the root.
  public var instancesText: String { operations.lines(of: server) }

  /// Reads and writes that have not been answered.
  public var waitCount: Int { operations.instances.waitCount }
}
