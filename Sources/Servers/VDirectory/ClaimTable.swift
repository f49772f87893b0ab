package import VProtocol

/// The claims on prefixes that this node knows: a value, merged entry by entry.
///
/// Entries outlive their managers, so that a manager that is down can be told from a name that does
/// not exist; an entry's number is a stable position in a listing. In a full table a new entry
/// replaces a withdrawn or forgotten one, then one whose host is silent, the longest silent first;
/// a claim whose host is heard is never replaced. Names of hosts that are silent for long are
/// forgotten (`forget`).
///
/// Each kernel that spreads claims has a share of the table, and this host has a part of its own: a
/// member that claims without end harms only itself.
package struct ClaimTable: Sendable {
  struct Entry: Sendable {
    var claim: Claim
    /// The kernel that it was heard from; nil for this host's own claims.
    var teller: KernelID?
    /// When its own host last spread it, on this node's clock; nil if only others did.
    var heardAt: Time?
    /// If that is nil: since when its host has been silent, or when the entry was made, in
    /// nanoseconds since 1970.
    var unheardSince: Int64?
    /// Whether the place is free for the next entry.
    var isSpare = false

    /// Whether its host has been silent for several times of spreading.
    func isAway(at now: Time) -> Bool { heardAt.map { $0 + ClaimTable.awayAfter <= now } ?? true }
  }

  /// The result of merging a claim.
  package enum Outcome: Equatable, Sendable {
    /// It is now in the table, as a replacement or as a new entry.
    case news(replaced: Claim?)
    case known
    /// A newer one is known, or there is no room for it.
    case refused
  }

  /// What the table has on a name.
  package enum Place: Equatable, Sendable {
    /// A manager answers for the first `prefixBytes` octets of the name, or did until it ended.
    case claimed(Claim, prefixBytes: Int)
    /// The name only leads to prefixes.
    case shared
    case unknown
  }

  fileprivate(set) var entries: [Entry] = []
  private var clock: UInt64 = 0

  package init() {}

  /// Three spreadings in a row were lost, or there were none.
  static let awayAfter = TimeSpan.seconds(90)

  /// A claim whose clock is further ahead than this is not believed: no two hosts' clocks that
  /// people look at differ by a day, and a name whose clock nobody can pass would be lost for good.
  package static let aheadMax = TimeSpan.seconds(86_400)

  /// A clock reading later than every claim seen so far that is believed.
  package mutating func tick(_ wallClock: Int64) -> UInt64 {
    if !Self.isBelieved(clock, wallClock) {
      // This host's clock was set back.
      clock = claims.map(\.clock).filter { Self.isBelieved($0, wallClock) }.max() ?? 0
    }
    clock = max(UInt64(max(wallClock, 0)), clock + 1)
    return clock
  }

  package static func isBelieved(_ clock: UInt64, _ wallClock: Int64) -> Bool {
    clock <= UInt64(max(wallClock, 0)) + UInt64(aheadMax.nanoseconds)
  }

  /// Merges a claim that `teller` spread, nil for one of this host's managers: of two claims on one
  /// prefix the newer holds, whichever host spreads it.
  ///
  /// One with a clock that is not believed is refused. One that is not believed any more, because
  /// the clock of this host was set back, is older than all others.
  package mutating func merge(
    _ claim: Claim, from teller: KernelID?, at now: Time, _ wallClock: Int64
  ) -> Outcome {
    guard Self.isBelieved(claim.clock, wallClock) else { return .refused }
    clock = max(clock, claim.clock)
    let isByHolder = teller == nil || teller == claim.manager.kernel
    let new = Entry(claim: claim, teller: teller, heardAt: isByHolder ? now : nil)
    guard let index = index(of: claim.prefix) else {
      return insert(new, at: now) ? .news(replaced: nil) : .refused
    }
    let known = entries[index].claim
    if claim == known {
      // A manager that has ended is not heard, although its host spreads the claim.
      if isByHolder && claim.state == .present {
        (entries[index].teller, entries[index].heardAt) = (teller, now)
      }
      return .known
    }
    // If a host booted with its clock behind, only its new kernel shows that its claim is newer.
    let isNewBoot =
      isByHolder && claim.host == known.host && claim.manager.kernel != known.manager.kernel
    // A host that claims again is not gone.
    let isBack = isByHolder && claim.state == .present && known.state == .forgotten
    let isNewer = claim.isNewer(than: known) || !Self.isBelieved(known.clock, wallClock)
    guard isNewer || isNewBoot || isBack else { return .refused }
    entries[index] = new
    return .news(replaced: known)
  }

  /// Adds the first claim on a prefix, or replaces one that its teller may replace.
  private mutating func insert(_ new: Entry, at now: Time) -> Bool {
    let isOwn = new.teller == nil
    let told = entries.indices.filter { entries[$0].teller != nil && !entries[$0].isSpare }
    let share = isOwn ? [] : told.filter { entries[$0].teller == new.teller }
    let hasShare = share.count < DirectoryLimits.claimsOfOneMax
    let isRoom =
      claims.count < Claim.claimsMax
      && (isOwn || told.count < Claim.claimsMax - DirectoryLimits.claimsOfOneMax)
    if hasShare && isRoom {
      put(new)
      return true
    }
    // Other hosts' claims replace only those of the same teller: else full tables would push out
    // each other's entries.
    let places = !hasShare ? share : isOwn ? Array(entries.indices) : told
    guard new.heardAt != nil, let index = spareIndex(among: places, at: now) else { return false }
    entries[index] = new
    return true
  }

  private mutating func put(_ new: Entry) {
    if let spare = entries.firstIndex(where: \.isSpare) {
      entries[spare] = new
    } else {
      entries.append(new)
    }
  }

  /// Makes the claims of `kernel`, this host's, again that were made while its clock was ahead; true
  /// if there were any.
  mutating func restamp(_ kernel: KernelID, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for index in entries.indices
    where entries[index].claim.manager.kernel == kernel && !entries[index].isSpare
      && !Self.isBelieved(entries[index].claim.clock, wallClock)
    {
      entries[index].claim.clock = tick(wallClock)
      isChanged = true
    }
    return isChanged
  }

  /// All claims that are known.
  var claims: [Claim] { entries.filter { !$0.isSpare }.map(\.claim) }

  /// Withdraws the claims of a host's earlier boots that `kernel` has not made again, with a clock
  /// newer than all others.
  mutating func withdraw(host: String, besides kernel: KernelID, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for index in entries.indices where !entries[index].isSpare {
      let claim = entries[index].claim
      guard claim.host == host, claim.isListed, claim.manager.kernel != kernel else { continue }
      set(.withdrawn, index, wallClock)
      isChanged = true
    }
    return isChanged
  }

  private mutating func set(_ state: Claim.State, _ index: Int, _ wallClock: Int64) {
    entries[index].claim.state = state
    entries[index].claim.clock = tick(wallClock)
    entries[index].heardAt = nil
    entries[index].unheardSince = wallClock
  }

  /// Sets the claims of a manager that ended to away; false if it had none.
  mutating func markAway(_ manager: EntityID, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for index in entries.indices
    where entries[index].claim.manager == manager && entries[index].claim.state == .present
      && !entries[index].isSpare
    {
      set(.away, index, wallClock)
      isChanged = true
    }
    return isChanged
  }

  /// Notes that all claims of `kernel` hold whose managers are up.
  mutating func refresh(_ kernel: KernelID, at now: Time) {
    for index in entries.indices
    where entries[index].claim.manager.kernel == kernel && entries[index].claim.state == .present {
      entries[index].heardAt = now
    }
  }

  func claim(on prefix: [UInt8]) -> Claim? { index(of: prefix).map { entries[$0].claim } }

  private func index(of prefix: [UInt8]) -> Int? {
    entries.firstIndex { $0.claim.prefix == prefix && !$0.isSpare }
  }

  private func spareIndex(among places: [Int], at now: Time) -> Int? {
    func rank(_ index: Int) -> (Int, Int64) {
      let entry = entries[index]
      return (entry.claim.isListed ? 1 : 0, entry.heardAt?.nanoseconds ?? .min)
    }
    return
      places
      .filter { !entries[$0].claim.isListed || entries[$0].isAway(at: now) }
      .min { rank($0) < rank($1) }
  }

  /// The longest claimed prefix of `name`.
  package func place(of name: [UInt8]) -> Place {
    var best: Claim?
    var leadsOn = name.isEmpty
    for entry in entries where entry.claim.isListed {
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

  /// The components right below the shared context `name`, each with the number of the first entry
  /// that has it.
  package func components(below name: [UInt8]) -> [(position: Int, component: [UInt8])] {
    let front = name.isEmpty ? [] : name + [Self.slash]
    var found: [(Int, [UInt8])] = []
    for (index, entry) in entries.enumerated() where entry.claim.isListed {
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

// MARK: Forgetting

extension ClaimTable {
  /// Sets the claims of hosts that were silent for `limit` to forgotten; true if something changed.
  ///
  /// That a claim was forgotten is kept for another `limit`, so that another host's older table
  /// does not bring it back.
  mutating func forget(after limit: TimeSpan, at now: Time, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for index in entries.indices where !entries[index].isSpare {
      let entry = entries[index]
      let since =
        entry.heardAt.map { wallClock - (now - $0).nanoseconds } ?? entry.unheardSince ?? wallClock
      if entry.heardAt == nil { entries[index].unheardSince = since }
      guard wallClock - since >= limit.nanoseconds else { continue }
      isChanged = true
      if entry.claim.isListed {
        set(.forgotten, index, wallClock)
      } else {
        entries[index].isSpare = true
      }
    }
    return isChanged
  }

  /// The claims that are forgotten with a prefix: that on the prefix itself, and with `host/NAME`
  /// all claims of the host NAME.
  func claims(forgottenWith prefix: [UInt8]) -> [Claim] {
    guard let claim = claim(on: prefix), claim.isListed else { return [] }
    guard prefix == Array("host/\(claim.host)".utf8) else { return [claim] }
    return claims.filter { $0.host == claim.host && $0.isListed }
  }

  /// Sets the state of claims, with a new clock.
  mutating func set(_ state: Claim.State, of claims: [Claim], _ wallClock: Int64) {
    for claim in claims {
      guard let index = index(of: claim.prefix), entries[index].claim == claim else { continue }
      set(state, index, wallClock)
    }
  }
}

// MARK: The table on a disk

extension ClaimTable {
  /// The records of all claims, one after another, as they are spread; behind the host of each the
  /// time since when it is silent, in nanoseconds since 1970.
  func octets(at now: Time, _ wallClock: Int64) -> [UInt8] {
    var writer = SegmentWriter()
    for entry in entries where !entry.isSpare {
      let since =
        entry.heardAt.map { wallClock - (now - $0).nanoseconds } ?? entry.unheardSince ?? wallClock
      var rest = SegmentWriter(reserving: 8)
      rest.integer(UInt64(bitPattern: since))
      entry.claim.emit(into: &writer, rest: rest.bytes)
    }
    return writer.bytes
  }

  /// Reads the claims in `octets`, up to the first malformed one.
  init(octets: [UInt8]) {
    var reader = SegmentReader(octets)
    var rest: [UInt8] = []
    while reader.remaining > 0, entries.count < Claim.claimsMax,
      let claim = try? Claim(parsing: &reader, rest: &rest)
    {
      clock = max(clock, claim.clock)
      var behind = SegmentReader(rest)
      let since = (try? behind.integer(UInt64.self)).map { Int64(bitPattern: $0) }
      entries.append(
        Entry(
          claim: claim, teller: claim.manager.kernel, heardAt: nil, unheardSince: since))
    }
  }
}
