import VObjects
public import VProtocol
public import VRuntime

/// The manager of this host's pipes: `pipe/<host>/<name>`.
///
/// It is outside the kernel, as in V: two clients meet at a name, and a request that must wait is
/// answered later.
public final class PipeServer: Sendable {
  public let server: EntityID
  private let objects: ObjectServer<PipeContent>
  private let claims: PrefixClaims

  public init(_ backplane: any Backplane) {
    let prefix = Array("pipe/\(backplane.host)".utf8)
    let claims = PrefixClaims(backplane, [(name: prefix, context: Pipes.root)])
    self.claims = claims
    objects = ObjectServer(
      backplane, claims: claims, capacity: PipeLimits.instancesMax, waitsMax: PipeLimits.waitsMax)
    server = objects.start(PipeOperations(objects).handlers)
  }

  /// Claims `pipe/<host>` in this host's directory and answers for it in the name handling group;
  /// `completion` is called once, and again with `duplicateName` if it is lost to a newer claim.
  ///
  /// A prefix that another host has (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    claims.claim(in: directory) { _, code in completion(code) }
  }

  /// Instances that are open.
  public var instanceCount: Int { objects.instances.count }
  /// Requests that have not been answered.
  package var waitCount: Int { objects.waits.count }
}
