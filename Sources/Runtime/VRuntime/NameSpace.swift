public import VProtocol

/// Where a program's name space starts: the shared context above all prefixes, which the
/// directory of its own node serves.
public struct NameSpace: Sendable {
  public var directory: EntityID
  public var root: ContextID
  public var identity: Descriptor.Identity

  /// The name space as the node of a kernel has it.
  public init(of kernel: KernelID) {
    self.init(
      directory: EntityID(kernel: kernel, discriminator: EntityID.directoryDiscriminator),
      root: ContextID(rawValue: 1), identity: Self.identity(ofSharedContext: []))
  }

  /// Of a context above the prefixes: by its name alone, so the same on every host and boot.
  public static func identity(ofSharedContext name: [UInt8]) -> Descriptor.Identity {
    Descriptor.Identity(device: 0, inode: Name(name).stableHash, generation: 0)
  }

  public init(directory: EntityID, root: ContextID, identity: Descriptor.Identity) {
    self.directory = directory
    self.root = root
    self.identity = identity
  }
}
