import VProtocol

/// Who claims which prefix, as far as this node has heard: a value, merged entry by entry.
///
/// Entries are never deleted, so that a manager that is away can be told from a name that does
/// not exist, and an entry's number is a stable position in a listing.
struct ClaimTable: Sendable {
  struct Entry: Sendable {
    var claim: Claim
    /// When it was last heard, on this node's clock.
    var heardAt: Time
  }

  /// Where a name leads.
  enum Place: Equatable, Sendable {
    /// A manager answers for the first `prefixBytes` octets of the name.
    case claimed(Int, prefixBytes: Int)
    /// The name only leads to prefixes.
    case shared
    case unknown
  }

  private(set) var entries: [Entry] = []
  private var clock: UInt64 = 0

  /// A clock reading later than every claim seen so far.
  mutating func tick(_ wallClock: Int64) -> UInt64 {
    clock = max(UInt64(max(wallClock, 0)), clock &+ 1)
    return clock
  }

  /// Takes in a claim; whether it changed what is known.
  ///
  /// A host's newer claim replaces its older one; over another host's the newer wins.
  mutating func merge(_ claim: Claim, isByHolder: Bool = false, at now: Time) -> Bool {
    clock = max(clock, claim.clock)
    guard let index = entries.firstIndex(where: { $0.claim.prefix == claim.prefix }) else {
      guard entries.count < Claim.claimsMax else { return false }
      entries.append(Entry(claim: claim, heardAt: now))
      return true
    }
    let known = entries[index].claim
    if claim == known {
      entries[index].heardAt = now
      return false
    }
    // A host that booted with its clock behind has only its new kernel to show that it is newer.
    let isNewBoot =
      isByHolder && claim.host == known.host && claim.manager.kernel != known.manager.kernel
    guard claim.clock > known.clock || isNewBoot else { return false }
    entries[index] = Entry(claim: claim, heardAt: now)
    return true
  }

  func entry(for prefix: [UInt8]) -> Entry? { entries.first { $0.claim.prefix == prefix } }

  /// Whose the longest claimed prefix of `name` is.
  func place(of name: [UInt8]) -> Place {
    var best: (index: Int, bytes: Int)?
    var leadsOn = name.isEmpty
    for (index, entry) in entries.enumerated() where entry.claim.state == .present {
      let prefix = entry.claim.prefix
      if prefix == name || name.starts(with: prefix + [Self.slash]) {
        if prefix.count > best?.bytes ?? -1 { best = (index, prefix.count) }
      } else if prefix.starts(with: name + [Self.slash]) {
        leadsOn = true
      }
    }
    if let best { return .claimed(best.index, prefixBytes: best.bytes) }
    return leadsOn ? .shared : .unknown
  }

  /// The components right below the shared context `name`, each with the number of the first
  /// entry that has it.
  func components(below name: [UInt8]) -> [(position: Int, component: [UInt8])] {
    let front = name.isEmpty ? [] : name + [Self.slash]
    var found: [(Int, [UInt8])] = []
    for (index, entry) in entries.enumerated() where entry.claim.state == .present {
      let prefix = entry.claim.prefix
      guard prefix.count > front.count, prefix.starts(with: front) else { continue }
      let component = Array(prefix[front.count...].prefix { $0 != Self.slash })
      if !found.contains(where: { $0.1 == component }) { found.append((index, component)) }
    }
    return found
  }

  static let slash = UInt8(ascii: "/")
}
