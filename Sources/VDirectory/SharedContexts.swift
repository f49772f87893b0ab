import VProtocol

/// The contexts that no manager owns: the names above and between prefixes, and the symbolic
/// links `self` and `any` beside host names.
///
/// A context number stands for a name for as long as the node runs; equal names, equal numbers.
struct SharedContexts: Sendable {
  private var names: [[UInt8]] = [[]]

  /// The top of the name space.
  static let root = ContextID(rawValue: 1)
  /// Names above prefixes are few: at most those that 128 claims have, and their links.
  private static let namesMax = 4096

  /// Nil where the table is full.
  mutating func context(of name: [UInt8]) -> ContextID? {
    if let index = names.firstIndex(of: name) { return ContextID(rawValue: UInt64(index + 1)) }
    guard names.count < Self.namesMax else { return nil }
    names.append(name)
    return ContextID(rawValue: UInt64(names.count))
  }

  func name(of context: ContextID) -> [UInt8]? {
    let index = Int(clamping: context.rawValue) - 1
    return names.indices.contains(index) ? names[index] : nil
  }

  /// Identity of a shared context: by its name alone, so the same on every host and boot.
  static func identity(of name: [UInt8]) -> Descriptor.Identity {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for octet in name { hash = (hash ^ UInt64(octet)) &* 0x0000_0100_0000_01B3 }
    return Descriptor.Identity(device: 0, inode: hash, generation: 0)
  }
}
