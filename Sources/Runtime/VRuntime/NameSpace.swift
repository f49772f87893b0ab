public import VProtocol

/// Where a program's name space starts: the shared context above all prefixes, which the
/// directory of its own node serves.
public struct NameSpace: Sendable {
  public var directory: EntityID
  public var root: ContextID
  public var identity: Descriptor.Identity

  public init(directory: EntityID, root: ContextID, identity: Descriptor.Identity) {
    self.directory = directory
    self.root = root
    self.identity = identity
  }
}
