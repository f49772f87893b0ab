package import VProtocol

/// What is looked up in a table of claims, kept in step with its entries: a value.
///
/// With it a name is found, and a share counted, without a look at every entry.
package struct ClaimIndex: Sendable {
  /// The place of each prefix in the table.
  private(set) var places: [[UInt8]: Int] = [:]
  /// The places of the claims on each kernel's managers.
  private(set) var placesOfKernels: [KernelID: Set<Int>] = [:]
  /// Names that lead to listed prefixes, with their number.
  private var fronts: [[UInt8]: Int] = [:]
  /// The hosts of all claims, with the number of their claims.
  private var hosts: [[UInt8]: Int] = [:]
  /// How many claims on other kernels' managers are known from each kernel only.
  private var hearsay: [KernelID: Int] = [:]
  /// Claims that other kernels told.
  private(set) var toldCount = 0
  package private(set) var digest = ClaimDigest()

  package init() {}

  var count: Int { places.count }
  /// Hosts with claims, withdrawn ones too.
  var hostCount: Int { hosts.count }

  func leadsOn(_ name: [UInt8]) -> Bool { name.isEmpty || fronts[name] != nil }
  func isHost(_ name: [UInt8]) -> Bool { hosts[name] != nil }
  func hearsayCount(of teller: KernelID) -> Int { hearsay[teller] ?? 0 }

  mutating func add(_ entry: ClaimTable.Entry, at place: Int) {
    let claim = entry.claim
    places[claim.prefix] = place
    placesOfKernels[claim.manager.kernel, default: []].insert(place)
    digest.add(claim)
    count(entry, by: 1)
  }

  mutating func remove(_ entry: ClaimTable.Entry, at place: Int) {
    let claim = entry.claim
    places[claim.prefix] = nil
    let kernel = claim.manager.kernel
    placesOfKernels[kernel]?.remove(place)
    if placesOfKernels[kernel]?.isEmpty == true { placesOfKernels[kernel] = nil }
    digest.remove(claim)
    count(entry, by: -1)
  }

  private mutating func count(_ entry: ClaimTable.Entry, by change: Int) {
    let claim = entry.claim
    Self.count(Array(claim.host.utf8), in: &hosts, by: change)
    if let teller = entry.teller {
      toldCount += change
      if teller != claim.manager.kernel { Self.count(teller, in: &hearsay, by: change) }
    }
    guard claim.isListed else { return }
    for index in claim.prefix.indices where claim.prefix[index] == ClaimTable.slash {
      Self.count(Array(claim.prefix[..<index]), in: &fronts, by: change)
    }
  }

  private static func count<Key>(_ key: Key, in counts: inout [Key: Int], by change: Int) {
    let count = counts[key, default: 0] + change
    counts[key] = count == 0 ? nil : count
  }
}
