package import VProtocol

/// The claims on prefixes that this node knows: a value, merged entry by entry.
///
/// Entries outlive their managers, so that a manager that is down can be told from a name that does
/// not exist; an entry's place is a stable position in a listing. In a full table a new entry
/// replaces a withdrawn or forgotten one, then one whose host is silent, the longest silent first;
/// a claim whose host is heard is never replaced. Names of hosts that are silent for long are
/// forgotten (`forget`).
///
/// Each kernel has a share of the table, and this host has a part of its own: a member that claims
/// without end harms only itself. What a kernel tells of others has a share too, and has to give
/// way to what they tell themselves.
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

    /// Whether its host has been silent for several times of spreading.
    func isAway(at now: Time) -> Bool { heardAt.map { $0 + ClaimTable.awayAfter <= now } ?? true }

    /// Since when its host has been silent, in nanoseconds since 1970.
    func silentSince(at now: Time, _ wallClock: Int64) -> Int64 {
      heardAt.map { wallClock - (now - $0).nanoseconds } ?? unheardSince ?? wallClock
    }
  }

  /// A bound that keeps a claim out of the table.
  package enum Bound: Equatable, Sendable {
    /// A host's share: `DirectoryLimits.claimsOfOneMax`.
    case shareOfHost
    /// What one host may tell of others: `DirectoryLimits.hearsayOfOneMax`.
    case hearsay
    /// `Claim.claimsMax`, of which a part is for the own host.
    case table
  }

  /// The result of merging a claim.
  package enum Outcome: Equatable, Sendable {
    /// It is now in the table, as a replacement or as a new entry.
    case news(replaced: Claim?)
    case known
    /// A newer one is known, or its clock is not believed.
    case refused
    case noRoom(Bound)
  }

  /// By place; nil is a place for the next entry.
  private(set) var entries: [Entry?] = []
  private(set) var index = ClaimIndex()
  private var freePlaces: [Int] = []
  private var clock: UInt64 = 0

  package init() {}

  /// Three spreadings in a row were lost, or there were none.
  static let awayAfter = TimeSpan.seconds(90)

  package var digest: ClaimDigest { index.digest }

  // MARK: clocks

  /// A claim whose clock is further ahead than this is not believed: no two hosts' clocks that
  /// people look at differ by a day, and a name whose clock nobody can pass would be lost for good.
  package static let aheadMax = TimeSpan.seconds(86_400)

  /// The next reading of the own clock is later than this one, which is believed.
  mutating func see(_ clock: UInt64) { self.clock = max(self.clock, clock) }

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

  // MARK: merging

  /// Merges a claim that `teller` spread, nil for one of this host's managers: of two claims on one
  /// prefix the newer holds, whichever host spreads it.
  ///
  /// One with a clock that is not believed is refused. One that is not believed any more, because
  /// the clock of this host was set back, is older than all others.
  package mutating func merge(
    _ claim: Claim, from teller: KernelID?, at now: Time, _ wallClock: Int64
  ) -> Outcome {
    guard Self.isBelieved(claim.clock, wallClock) else { return .refused }
    see(claim.clock)
    let isByHolder = teller == nil || teller == claim.manager.kernel
    let new = Entry(claim: claim, teller: teller, heardAt: isByHolder ? now : nil)
    guard let place = index.places[claim.prefix], let entry = entries[place] else {
      if let bound = insert(new, at: now) { return .noRoom(bound) }
      return .news(replaced: nil)
    }
    let known = entry.claim
    if claim == known {
      if isByHolder { hear(place, from: teller, at: now) }
      return .known
    }
    // If a host booted with its clock behind, only its new kernel shows that its claim is newer.
    let isNewBoot =
      isByHolder && claim.host == known.host && claim.manager.kernel != known.manager.kernel
    // A host that claims again is not gone.
    let isBack = isByHolder && claim.state == .present && known.state == .forgotten
    let isNewer = claim.isNewer(than: known) || !Self.isBelieved(known.clock, wallClock)
    guard isNewer || isNewBoot || isBack else { return .refused }
    let kernel = claim.manager.kernel
    if kernel != known.manager.kernel, !hasShare(kernel) {
      // What nobody stands by of the share gives way, as for a new prefix.
      let share = index.placesOfKernels[kernel] ?? []
      guard isByHolder, let spare = sparePlace(among: share, at: now) else {
        return .noRoom(.shareOfHost)
      }
      set(spare, to: nil)
    }
    set(place, to: new)
    return .news(replaced: known)
  }

  /// A kernel has spread a digest equal to this table's, and so all claims on its managers.
  mutating func hearAll(of kernel: KernelID, at now: Time) {
    for place in index.placesOfKernels[kernel] ?? [] { hear(place, from: kernel, at: now) }
  }

  /// The kernel of a claim's own manager has spread it.
  private mutating func hear(_ place: Int, from teller: KernelID?, at now: Time) {
    // A manager that has ended is not heard, although its host spreads the claim.
    guard var entry = entries[place], entry.claim.state == .present else { return }
    entry.heardAt = now
    if entry.teller == teller {
      entries[place] = entry
    } else {
      entry.teller = teller
      set(place, to: entry)
    }
  }

  private func hasShare(_ kernel: KernelID) -> Bool {
    index.placesOfKernels[kernel]?.count ?? 0 < DirectoryLimits.claimsOfOneMax
  }

  /// Adds the first claim on a prefix, or replaces one that its teller may replace; else returns
  /// the bound.
  private mutating func insert(_ new: Entry, at now: Time) -> Bound? {
    let kernel = new.claim.manager.kernel
    let isOwn = new.teller == nil
    guard hasShare(kernel) else {
      let share = index.placesOfKernels[kernel] ?? []
      return replace(among: share, by: new, at: now) ? nil : .shareOfHost
    }
    if let teller = new.teller, teller != kernel,
      index.hearsayCount(of: teller) >= DirectoryLimits.hearsayOfOneMax
    {
      return .hearsay
    }
    let isRoom =
      index.count < Claim.claimsMax
      && (isOwn || index.toldCount < Claim.claimsMax - DirectoryLimits.claimsOfOneMax)
    if isRoom {
      put(new)
      return nil
    }
    let places = entries.indices.filter { isOwn || entries[$0]?.teller != nil }
    return replace(among: places, by: new, at: now) ? nil : .table
  }

  /// Replaces an entry that nobody stands by any more; hearsay never does, else full tables would
  /// push out each other's entries.
  private mutating func replace(
    among places: some Sequence<Int>, by new: Entry, at now: Time
  ) -> Bool {
    guard new.heardAt != nil, let place = sparePlace(among: places, at: now) else { return false }
    set(place, to: new)
    return true
  }

  private func sparePlace(among places: some Sequence<Int>, at now: Time) -> Int? {
    func rank(_ place: Int) -> (Int, Int64, Int) {
      guard let entry = entries[place] else { return (0, .min, place) }
      return (entry.claim.isListed ? 1 : 0, entry.heardAt?.nanoseconds ?? .min, place)
    }
    return
      places
      .filter { entries[$0].map { !$0.claim.isListed || $0.isAway(at: now) } ?? false }
      .min { rank($0) < rank($1) }
  }

  // MARK: places

  private mutating func put(_ new: Entry) {
    let place = freePlaces.popLast() ?? entries.count
    if place == entries.count { entries.append(nil) }
    set(place, to: new)
  }

  /// Every change of an entry but its time goes through here.
  private mutating func set(_ place: Int, to new: Entry?) {
    if let old = entries[place] { index.remove(old, at: place) }
    entries[place] = new
    if let new { index.add(new, at: place) } else { freePlaces.append(place) }
  }

  /// Changes the state of an entry, with a new clock.
  private mutating func set(_ state: Claim.State, _ place: Int, _ wallClock: Int64) {
    guard var entry = entries[place] else { return }
    entry.claim.state = state
    entry.claim.clock = tick(wallClock)
    entry.heardAt = nil
    entry.unheardSince = wallClock
    set(place, to: entry)
  }

  private func places(of kernel: KernelID) -> [Int] {
    (index.placesOfKernels[kernel] ?? []).sorted()
  }
}

// MARK: - This host's own claims

extension ClaimTable {
  /// Sets the claims of a manager that ended to away; returns their prefixes.
  mutating func markAway(_ manager: EntityID, _ wallClock: Int64) -> [[UInt8]] {
    places(of: manager.kernel).compactMap { place in
      guard let claim = entries[place]?.claim, claim.manager == manager, claim.state == .present
      else { return nil }
      set(.away, place, wallClock)
      return claim.prefix
    }
  }

  /// Notes that all claims of `kernel` hold whose managers are up.
  mutating func refresh(_ kernel: KernelID, at now: Time) {
    for place in places(of: kernel) where entries[place]?.claim.state == .present {
      entries[place]?.heardAt = now
    }
  }

  /// Makes the claims of `kernel`, this host's, again that were made while its clock was ahead;
  /// true if there were any.
  mutating func restamp(_ kernel: KernelID, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for place in places(of: kernel) {
      guard var entry = entries[place], !Self.isBelieved(entry.claim.clock, wallClock) else {
        continue
      }
      entry.claim.clock = tick(wallClock)
      set(place, to: entry)
      isChanged = true
    }
    return isChanged
  }

  /// Withdraws the claims of a host's earlier boots that `kernel` has not made again, with a clock
  /// newer than all others; returns their prefixes.
  mutating func withdraw(host: String, besides kernel: KernelID, _ wallClock: Int64) -> [[UInt8]] {
    guard index.isHost(Array(host.utf8)) else { return [] }
    return entries.indices.compactMap { place in
      guard let claim = entries[place]?.claim, claim.host == host, claim.isListed,
        claim.manager.kernel != kernel
      else { return nil }
      set(.withdrawn, place, wallClock)
      return claim.prefix
    }
  }

  /// The claims of `kernel`, in the order of their places.
  func claims(of kernel: KernelID) -> [Claim] {
    places(of: kernel).compactMap { entries[$0]?.claim }
  }
}

// MARK: - Forgetting

extension ClaimTable {
  /// Sets the claims of hosts that were silent for `limit` to forgotten; true if something changed.
  ///
  /// That a claim was withdrawn or forgotten is kept until its clock is older than `limit`, so that
  /// another host's older table does not bring it back.
  mutating func forget(after limit: TimeSpan, at now: Time, _ wallClock: Int64) -> Bool {
    var isChanged = false
    for place in entries.indices {
      guard let entry = entries[place] else { continue }
      let since = entry.silentSince(at: now, wallClock)
      if entry.heardAt == nil { entries[place]?.unheardSince = since }
      if entry.claim.isListed {
        guard wallClock - since >= limit.nanoseconds else { continue }
        set(.forgotten, place, wallClock)
      } else {
        guard Self.isPast(entry.claim, limit, wallClock) else { continue }
        set(place, to: nil)
      }
      isChanged = true
    }
    return isChanged
  }

  /// Whether a claim says only that there is no claim any more, and has said it for long enough.
  static func isPast(_ claim: Claim, _ limit: TimeSpan, _ wallClock: Int64) -> Bool {
    !claim.isListed && Int64(clamping: claim.clock) <= wallClock - limit.nanoseconds
  }

  /// Sets the state of claims, with a new clock.
  mutating func set(_ state: Claim.State, of claims: [Claim], _ wallClock: Int64) {
    for claim in claims {
      guard let place = index.places[claim.prefix], entries[place]?.claim == claim else { continue }
      set(state, place, wallClock)
    }
  }
}

// MARK: - The table on a disk

extension ClaimTable {
  /// The records of all claims, one after another, as they are spread; behind the host of each the
  /// time since when it is silent, in nanoseconds since 1970.
  func octets(at now: Time, _ wallClock: Int64) -> [UInt8] {
    var writer = SegmentWriter()
    for case let entry? in entries {
      var rest = SegmentWriter(reserving: 8)
      rest.integer(UInt64(bitPattern: entry.silentSince(at: now, wallClock)))
      entry.claim.emit(into: &writer, rest: rest.bytes)
    }
    return writer.bytes
  }

  /// Reads the claims in `octets`, up to the first malformed one.
  init(octets: [UInt8]) {
    var reader = SegmentReader(octets)
    var rest: [UInt8] = []
    while reader.remaining > 0, index.count < Claim.claimsMax,
      let claim = try? Claim(parsing: &reader, rest: &rest)
    {
      guard index.places[claim.prefix] == nil else { continue }
      clock = max(clock, claim.clock)
      var behind = SegmentReader(rest)
      let since = (try? behind.integer(UInt64.self)).map { Int64(bitPattern: $0) }
      put(
        Entry(claim: claim, teller: claim.manager.kernel, heardAt: nil, unheardSince: since))
    }
  }
}
