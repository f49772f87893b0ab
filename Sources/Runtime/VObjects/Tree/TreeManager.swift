public import VProtocol
public import VRuntime

/// A manager of a tree that a server makes up: contexts, live text, links and files of its own, by
/// the same naming and UIO operations as everything else.
///
/// A text is made when it is opened and then stays as it is, so that one reader sees one state; as
/// long as it is open, its size is told as that of what was opened. The modes of contexts count as
/// on a disk: to pass one takes the right to execute, to list it the right to read.
public final class TreeManager: Sendable {
  /// The context of the root: it is known to everybody, as every use is checked.
  public static let root = ContextID(rawValue: 1)

  public let server: EntityID
  private let operations: TreeOperations
  private let claims: PrefixClaims

  /// With a `prefix` the tree can be claimed, and is found by it; else it is found by its server
  /// alone.
  ///
  /// `identify` says as whom the sender of a request is taken, where that is not as `Caller` says.
  /// `serve` is shown every request that is none of a name or an instance, and says whether it has
  /// taken it.
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
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    claims.claim(in: directory) { _, code in completion(code) }
  }

  /// Reads and writes that have not been answered.
  package var waitCount: Int { operations.objects.waits.count }
  /// Instances that are open.
  package var instanceCount: Int { operations.objects.instances.count }
}
