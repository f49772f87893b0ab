public import VProtocol
public import VRuntime

/// A manager of a tree that a server makes: contexts, texts, links and files of its own, with the
/// same naming and UIO operations as everything else.
///
/// A text is made when it is opened and does not change while it is open, so that a reader sees one
/// state; meanwhile its size is that of the opened text. The modes of contexts are checked as on a
/// disk: passing one needs the right to execute, listing it the right to read.
public final class TreeManager: Sendable {
  /// The context of the root: its number is known to all, since every use is checked.
  public static let root = ContextID(rawValue: 1)

  public let server: EntityID
  private let operations: TreeOperations
  private let claims: PrefixClaims

  /// With a `prefix` the tree can be claimed, and is found by it; else only its server's entity
  /// leads to it.
  ///
  /// `identify` makes the caller of a request, if not as `Caller` does. `serve` gets every request
  /// that is not about a name or an instance, and returns whether it has handled it.
  public init(
    _ backplane: any Backplane, _ root: TreeContext, prefix: String? = nil,
    identify: (@Sendable (Request) -> Caller)? = nil,
    serve: (@Sendable (Request, Caller) -> Bool)? = nil
  ) {
    let names = prefix.map { [(name: Array($0.utf8), context: Self.root)] } ?? []
    let claims = PrefixClaims(backplane, names)
    self.claims = claims
    let objects = ObjectServer<TreeContent>(
      backplane, claims: prefix == nil ? nil : claims, identify: identify)
    let operations = TreeOperations(objects, root, serve: serve)
    self.operations = operations
    server = objects.start(operations.handlers)
  }

  /// Claims the prefix in this host's directory; `completion` is called once, and again with
  /// `duplicateName` if it is lost to a newer claim.
  ///
  /// A prefix that another host has (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    claims.claim(in: directory) { _, code in completion(code) }
  }

  /// Reads and writes that are not answered yet.
  package var waitCount: Int { operations.objects.waits.count }
  /// Instances that are open.
  package var instanceCount: Int { operations.objects.instances.count }
}
