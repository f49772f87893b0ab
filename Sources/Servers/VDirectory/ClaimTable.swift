package import VProtocol

/// Who claims which prefix, as far as this node has heard: a value, merged entry by entry.
///
/// Entries outlive their holders, so that a manager that is away can be told from a name that does
/// not exist; an entry's number is a stable position in a listing. A full table gives up what was
/// withdrawn, then what is away, the longest unheard first; what is present is never given up.
///
/// Each kernel that tells of claims has a share of the table, and the own host a part that nobody
/// else takes: a member that claims without end meets that itself.
package struct ClaimTable: Sendable {
  struct Entry: Sendable {
    var claim: Claim
    /// The kernel that told of it; nil for this host's own claims.
    var teller: KernelID?
    /// When its holder last said so itself, on this node's clock; nil where only others did.
    var heardAt: Time?

    /// Whether its holder has been silent for several times of spreading.
    func isAway(at now: Time) -> Bool { heardAt.map { $0 + ClaimTable.awayAfter <= now } ?? true }
  }

  /// What a claim that was heard turned out to be.
  package enum Outcome: Equatable, Sendable {
    /// It is in the table now, in the place of another one or a new one.
    case news(replaced: Claim?)
    case known
    /// A newer one is known, or there is no room for it.
    case refused
  }

  /// Where a name leads.
  package enum Place: Equatable, Sendable {
    /// A manager answers for the first `prefixBytes` octets of the name, or did until it ended.
    case claimed(Claim, prefixBytes: Int)
    /// The name only leads to prefixes.
    case shared
    case unknown
  }

  private(set) var entries: [Entry] = []
  private var clock: UInt64 = 0

  package init() {}

  /// Three spreadings in a row were lost, or there were none.
  static let awayAfter = TimeSpan.seconds(90)

  /// A clock reading later than every claim seen so far.
  mutating func tick(_ wallClock: Int64) -> UInt64 {
    clock = max(UInt64(max(wallClock, 0)), clock &+ 1)
    return clock
  }

  /// Takes in a claim that `teller` told of, nil for one of this host's managers: of two on one
  /// prefix the newer holds, whoever tells of it.
  package mutating func merge(
    _ claim: Claim, from teller: KernelID?, at now: Time
  ) -> Outcome {
    clock = max(clock, claim.clock)
    let isByHolder = teller == nil || teller == claim.manager.kernel
    let new = Entry(claim: claim, teller: teller, heardAt: isByHolder ? now : nil)
    guard let index = index(of: claim.prefix) else {
      return insert(new, at: now) ? .news(replaced: nil) : .refused
    }
    let known = entries[index].claim
    if claim == known {
      if isByHolder { (entries[index].teller, entries[index].heardAt) = (teller, now) }
      return .known
    }
    // A host that booted with its clock behind has only its new kernel to show that it is newer.
    let isNewBoot =
      isByHolder && claim.host == known.host && claim.manager.kernel != known.manager.kernel
    guard claim.isNewer(than: known) || isNewBoot else { return .refused }
    entries[index] = new
    return .news(replaced: known)
  }

  /// Adds the first claim on a prefix, or puts it in the place of what its teller may displace.
  private mutating func insert(_ new: Entry, at now: Time) -> Bool {
    let isOwn = new.teller == nil
    let told = entries.indices.filter { entries[$0].teller != nil }
    let share = isOwn ? [] : told.filter { entries[$0].teller == new.teller }
    let hasShare = share.count < DirectoryLimits.claimsOfOneMax
    let isRoom =
      entries.count < Claim.claimsMax
      && (isOwn || told.count < Claim.claimsMax - DirectoryLimits.claimsOfOneMax)
    if hasShare && isRoom {
      entries.append(new)
      return true
    }
    // What others tell of is not worth that: tables would push out each other's memories.
    let places = !hasShare ? share : isOwn ? Array(entries.indices) : told
    guard new.heardAt != nil, let index = spareIndex(among: places, at: now) else { return false }
    entries[index] = new
    return true
  }

  /// Withdraws what earlier boots of a host claimed and `kernel` did not claim anew; the withdrawn
  /// are newer than everything else.
  mutating func withdraw(host: String, besides kernel: KernelID, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for index in entries.indices {
      let claim = entries[index].claim
      guard claim.host == host, claim.state != .withdrawn, claim.manager.kernel != kernel
      else { continue }
      entries[index].claim.state = .withdrawn
      entries[index].claim.clock = tick(wallClock)
      isChanged = true
    }
    return isChanged
  }

  /// What a manager that ended had is away; false if it had nothing.
  mutating func markAway(_ manager: EntityID, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for index in entries.indices
    where entries[index].claim.manager == manager && entries[index].claim.state == .present {
      entries[index].claim.state = .away
      entries[index].claim.clock = tick(wallClock)
      isChanged = true
    }
    return isChanged
  }

  /// Says that all claims of `kernel` still stand.
  mutating func refresh(_ kernel: KernelID, at now: Time) {
    for index in entries.indices where entries[index].claim.manager.kernel == kernel {
      entries[index].heardAt = now
    }
  }

  func claim(on prefix: [UInt8]) -> Claim? { index(of: prefix).map { entries[$0].claim } }

  private func index(of prefix: [UInt8]) -> Int? {
    entries.firstIndex { $0.claim.prefix == prefix }
  }

  private func spareIndex(among places: [Int], at now: Time) -> Int? {
    func rank(_ index: Int) -> (Int, Int64) {
      let entry = entries[index]
      return (entry.claim.state == .withdrawn ? 0 : 1, entry.heardAt?.nanoseconds ?? .min)
    }
    return
      places
      .filter { entries[$0].claim.state == .withdrawn || entries[$0].isAway(at: now) }
      .min { rank($0) < rank($1) }
  }

  /// Whose the longest claimed prefix of `name` is.
  package func place(of name: [UInt8]) -> Place {
    var best: Claim?
    var leadsOn = name.isEmpty
    for entry in entries where entry.claim.state != .withdrawn {
      let prefix = entry.claim.prefix
      if Self.leads(prefix, to: name) {
        if prefix.count > best?.prefix.count ?? -1 { best = entry.claim }
      } else if Self.leads(name, to: prefix) {
        leadsOn = true
      }
    }
    if let best { return .claimed(best, prefixBytes: best.prefix.count) }
    return leadsOn ? .shared : .unknown
  }

  /// The components right below the shared context `name`, each with the number of the first
  /// entry that has it.
  package func components(below name: [UInt8]) -> [(position: Int, component: [UInt8])] {
    let front = name.isEmpty ? [] : name + [Self.slash]
    var found: [(Int, [UInt8])] = []
    for (index, entry) in entries.enumerated() where entry.claim.state != .withdrawn {
      let prefix = entry.claim.prefix
      guard prefix.count > front.count, prefix.starts(with: front) else { continue }
      let component = Array(prefix[front.count...].prefix { $0 != Self.slash })
      if !found.contains(where: { $0.1 == component }) { found.append((index, component)) }
    }
    return found
  }

  /// Whether `name` is `front` or below it.
  static func leads(_ front: [UInt8], to name: [UInt8]) -> Bool {
    name.starts(with: front) && (name.count == front.count || name[front.count] == slash)
  }

  static let slash = UInt8(ascii: "/")
}

// MARK: The table on a disk

extension ClaimTable {
  /// The records of all claims, one after another, as they are spread.
  var octets: [UInt8] {
    var writer = SegmentWriter()
    for entry in entries { entry.claim.emit(into: &writer) }
    return writer.bytes
  }

  /// What `octets` were; from where they make no sense on, nothing.
  init(octets: [UInt8]) {
    var reader = SegmentReader(octets)
    while reader.remaining > 0, entries.count < Claim.claimsMax,
      let claim = try? Claim(parsing: &reader)
    {
      clock = max(clock, claim.clock)
      entries.append(Entry(claim: claim, teller: claim.manager.kernel, heardAt: nil))
    }
  }
}
