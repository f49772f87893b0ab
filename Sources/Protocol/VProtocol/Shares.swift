/// Shares of one bounded table: those of hosts, and of their users.
///
/// Only the principal beyond its share is refused:
///
/// ```
/// |<------------------------------ capacity ------------------------------>|
/// |  root of the own host    | users of the own host |  all other hosts   |
/// |  may have all of it; an  |   each a quarter      |  together a half,  |
/// |  eighth is nobody else's |                       |  one 3/8, a user   |
/// |                          |                       |  of one a quarter  |
/// ```
/// It is a value in the same lock as the table.
public struct Shares: Sendable {
  /// The user and host that a share belongs to.
  private struct Payer: Hashable, Sendable {
    var host: String
    /// Empty for all users of a host without a name: a host can invent any number of them.
    var user: String
  }

  public let capacity: Int
  private let ownHost: String
  private var users: [Payer: Int] = [:]
  private var hosts: [String: Int] = [:]
  public private(set) var count = 0
  private var rootCount = 0

  /// At least 8, so that every share has an entry.
  public init(capacity: Int, ownHost: String) {
    precondition(capacity >= 8, "a table of which everybody has a share")
    self.capacity = capacity
    self.ownHost = ownHost
  }

  /// Takes `amount` more for `principal`; false if that is beyond its share.
  ///
  /// A principal that is unknown belongs to no host.
  public mutating func take(_ principal: Principal?, _ amount: Int = 1) -> Bool {
    precondition(amount >= 0, "shares are given back by `give`")
    if amount == 0 { return true }
    let payer = payer(of: principal)
    guard count + amount <= capacity, payer.map({ fits(amount, $0) }) ?? true else {
      return false
    }
    add(amount, to: payer)
    return true
  }

  private func fits(_ amount: Int, _ payer: Payer) -> Bool {
    guard count - rootCount + amount <= capacity - capacity / ShareLimits.rootPart,
      users[payer, default: 0] + amount <= capacity / ShareLimits.userPart
    else { return false }
    if payer.host == ownHost { return true }
    let strangers = count - rootCount - hosts[ownHost, default: 0]
    return hosts[payer.host, default: 0] + amount <= capacity * 3 / ShareLimits.hostParts
      && strangers + amount <= capacity / ShareLimits.strangersPart
  }

  /// Counts what `principal` has already, also beyond its share.
  public mutating func add(_ principal: Principal?, _ amount: Int = 1) {
    add(amount, to: payer(of: principal))
  }

  private mutating func add(_ amount: Int, to payer: Payer?) {
    count += amount
    guard let payer else {
      rootCount += amount
      return
    }
    users[payer, default: 0] += amount
    hosts[payer.host, default: 0] += amount
  }

  /// Returns what was taken.
  public mutating func give(_ principal: Principal?, _ amount: Int = 1) {
    count -= amount
    precondition(count >= 0, "a share is given back once")
    guard let payer = payer(of: principal) else {
      rootCount -= amount
      return
    }
    Self.subtract(amount, from: &users[payer])
    Self.subtract(amount, from: &hosts[payer.host])
  }

  private static func subtract(_ amount: Int, from entry: inout Int?) {
    let left = (entry ?? 0) - amount
    precondition(left >= 0, "a share is given back once")
    entry = left == 0 ? nil : left
  }

  /// Nil for root of the own host, which has no limit.
  private func payer(of principal: Principal?) -> Payer? {
    guard let principal else { return Payer(host: "", user: "") }
    if principal.host == ownHost && principal.isFullRoot { return nil }
    return Payer(host: principal.host, user: principal.user.hasPrefix("#") ? "" : principal.user)
  }
}

extension Shares {
  /// Whether two principals have a share in common.
  public func isSamePayer(_ one: Principal, _ other: Principal) -> Bool {
    payer(of: one) == payer(of: other)
  }
}

/// The parts into which every bounded table is shared.
public enum ShareLimits {
  /// An eighth is kept for root of the own host, which can always list and end what others have.
  public static let rootPart = 8
  /// Four users can fill what is not root's: most hosts have fewer active at once.
  public static let userPart = 4
  /// One other host has three of these parts: no member of the cluster, whatever its root does,
  /// takes the whole share of other hosts.
  public static let hostParts = 8
  /// All other hosts together leave half to this host's own users.
  public static let strangersPart = 2
}
