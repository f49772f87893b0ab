import Synchronization
import VObjects
package import VProtocol
import VRuntime

/// What people are told when a bound of the table is met.
extension Directory {
  /// A prefix that is not listed here for want of room.
  public struct LeftOut: Equatable, Sendable {
    public var prefix: String
    public var host: String
    public var why: String
    /// When it was told last; its host tells it every 30 s.
    var toldAt: Time
  }

  /// Prefixes that others claim and that are not in the table; they are found by asking.
  public var leftOut: [LeftOut] {
    let now = backplane.now
    return state.withLock { state in
      state.leftOut.values.filter { now - $0.toldAt < ClaimTable.awayAfter }
        .sorted { $0.prefix < $1.prefix }
    }
  }

  /// How many claims the table has, and may have.
  public var claimCounts: (known: Int, most: Int) {
    (state.withLock { $0.table.index.count }, Claim.claimsMax)
  }

  package var digest: ClaimDigest { state.withLock { $0.table.digest } }

  /// Why another prefix of this host is refused with `noServerResources`.
  public var boundMet: String {
    let count = state.withLock { $0.table.claims(of: client.kernel).count }
    let isShare = count >= DirectoryLimits.claimsOfOneMax
    return Self.words(isShare ? .shareOfHost : .table, of: backplane.host)
  }

  func noteLeftOut(_ claim: Claim, _ bound: ClaimTable.Bound) {
    let now = backplane.now
    let left = LeftOut(
      prefix: String(decoding: claim.prefix, as: UTF8.self), host: claim.host,
      why: Self.words(bound, of: claim.host), toldAt: now)
    let isFirst = state.withLock { state in
      state.leftOut = state.leftOut.filter { now - $0.value.toldAt < ClaimTable.awayAfter }
      let isFirst = !state.leftOut.values.contains { $0.host == claim.host && $0.why == left.why }
      state.leftOut[claim.prefix] = nil
      guard claim.isListed, state.leftOut.count < DirectoryLimits.leftOutMax else { return false }
      state.leftOut[claim.prefix] = left
      return isFirst
    }
    if isFirst { note("\(left.prefix) of \(left.host) is not listed here: \(left.why)") }
  }

  static func words(_ bound: ClaimTable.Bound, of host: String) -> String {
    switch bound {
    case .shareOfHost:
      "\(host) has \(DirectoryLimits.claimsOfOneMax) prefixes, and a host has no more"
    case .hearsay:
      "one host tells of at most \(DirectoryLimits.hearsayOfOneMax) prefixes of others"
    case .table:
      "all hosts together have \(Claim.claimsMax) prefixes, and there is room for no more"
    }
  }
}
