import VProtocol

/// When this host tells another one what it has, and from whom it fetches what it lacks: a value.
///
/// ```
///  a directory asks ----> answer after a random time, unless other hosts have answered
///  a digest has more than this table ----> fetch after a random time, from whom was heard last
/// ```
/// The times grow with the number of hosts, so that a thousand of them do not answer or ask one
/// host at once.
struct Exchange: Sendable {
  /// The answer to directories that asked, or that have an older claim of this host.
  private struct Answer: Sendable {
    /// When it was given last.
    var givenAt: Time?
    var isDue = false
    /// Whether only this host can give it.
    var isOwn = false
    /// How many others have spread their digests since this one was asked.
    var others = 0
    var isGivenByOthers: Bool { others >= Exchange.othersMax }
  }

  /// The fetching of claims that this table lacks.
  private struct Fetch: Sendable {
    var isUnderWay = false
    /// The last directory whose digest had more.
    var source: (directory: EntityID, digest: ClaimDigest)?
    /// Fetches in a row that brought nothing new.
    var fruitless = 0
  }

  private var answer = Answer()
  private var fetch = Fetch()
  /// Whether any digest was heard.
  private(set) var hasHeard = false

  init() {}

  /// The longest random time grows by this with each host that is known, in nanoseconds.
  private static let spanOfOneNanoseconds: Int64 = 1_000_000
  private static let spanMaxNanoseconds: Int64 = 1_000_000_000
  /// How often a host that asks all others is answered, and what lacks is asked for.
  static let interval = TimeSpan.seconds(1)
  /// Whoever has asked fetches from these, and hears all others in time.
  ///
  /// In a small cluster it hears every host at once, and so learns every address.
  private static let othersMax = 4
  /// Where fetching brings nothing, because tables are full or the other one is older, it is tried
  /// ever more rarely: after 1 s, at last after 32 s.
  private static let doublingsMax = 6
  /// Answers to one fetch: 8,192 claims of 351 octets at most fill some 180.
  ///
  /// Whoever gives more would be asked for ever.
  static let answersMax = 200

  private static func span(_ hosts: Int, _ random: UInt64) -> Int64 {
    let longest = min(Int64(clamping: hosts) * spanOfOneNanoseconds, spanMaxNanoseconds)
    return longest == 0 ? 0 : Int64(random % UInt64(longest))
  }

  // MARK: answering

  /// Notes that an answer is wanted; returns after which time to call `takeAnswer`, nil if that is
  /// due already.
  ///
  /// Many hosts have what a directory lacks that asks for everything; only this one has its `own`.
  mutating func want(
    own: Bool, hosts: Int, _ random: UInt64, at now: Time
  ) -> TimeSpan? {
    answer.isOwn = answer.isOwn || own
    guard !answer.isDue else { return nil }
    (answer.isDue, answer.others) = (true, 0)
    let pause = answer.givenAt.map { ($0 + Self.interval - now).nanoseconds } ?? 0
    return TimeSpan(nanoseconds: max(pause, 0) + (own ? 0 : Self.span(hosts, random)))
  }

  /// Whether the answer is to be given now.
  mutating func takeAnswer(at now: Time) -> Bool {
    let isWanted = answer.isOwn || !answer.isGivenByOthers
    (answer.isDue, answer.isOwn) = (false, false)
    if isWanted { answer.givenAt = now }
    return isWanted
  }

  // MARK: fetching

  /// Notes a digest; returns after which time to call `takeSource`, nil if that is due already or
  /// the table lacks nothing.
  mutating func hear(
    _ digest: ClaimDigest, of directory: EntityID, _ own: ClaimDigest, hosts: Int, _ random: UInt64
  ) -> TimeSpan? {
    hasHeard = true
    // Its newer digest replaces the older one.
    if fetch.source?.directory == directory { fetch.source = nil }
    answer.others += 1
    guard own.buckets(missing: digest) != 0 else { return nil }
    fetch.source = (directory, digest)
    guard !fetch.isUnderWay else { return nil }
    fetch.isUnderWay = true
    let pause = fetch.fruitless == 0 ? 0 : Self.interval.nanoseconds << (fetch.fruitless - 1)
    return TimeSpan(nanoseconds: pause + Self.span(hosts, random))
  }

  /// The directory to fetch from, and the buckets; nil if nothing lacks any more.
  mutating func takeSource(_ own: ClaimDigest) -> (directory: EntityID, buckets: UInt64)? {
    let source = fetch.source
    fetch.source = nil
    guard let source, case let buckets = own.buckets(missing: source.digest), buckets != 0 else {
      fetch.isUnderWay = false
      return nil
    }
    return (source.directory, buckets)
  }

  mutating func endFetch(isFruitful: Bool) {
    fetch.isUnderWay = false
    fetch.fruitless = isFruitful ? 0 : min(fetch.fruitless + 1, Self.doublingsMax)
  }
}
