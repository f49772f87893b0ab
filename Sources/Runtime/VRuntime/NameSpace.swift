public import VProtocol

/// The root of a program's name space: the shared context above all prefixes, served by the
/// directory of its own node.
public struct NameSpace: Sendable {
  public var directory: EntityID
  public var root: ContextID
  public var identity: Descriptor.Identity

  /// The name space of a kernel's node.
  public init(of kernel: KernelID) {
    self.init(
      directory: EntityID(kernel: kernel, discriminator: EntityID.directoryDiscriminator),
      root: ContextID(rawValue: 1), identity: Self.identity(ofSharedContext: []))
  }

  /// The identity of a context above the prefixes: made from its name, so it is the same on every
  /// host and in every boot.
  public static func identity(ofSharedContext name: [UInt8]) -> Descriptor.Identity {
    Descriptor.Identity(device: 0, inode: Name(name).stableHash, generation: 0)
  }

  public init(directory: EntityID, root: ContextID, identity: Descriptor.Identity) {
    self.directory = directory
    self.root = root
    self.identity = identity
  }
}
