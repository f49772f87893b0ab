package import VProtocol

/// Names in a table of claims.
extension ClaimTable {
  /// What the table has on a name.
  package enum Place: Equatable, Sendable {
    /// A manager answers for the first `prefixBytes` octets of the name, or did until it ended.
    case claimed(Claim, prefixBytes: Int)
    /// The name only leads to prefixes.
    case shared
    case unknown
  }

  func claim(on prefix: [UInt8]) -> Claim? { index.places[prefix].flatMap { entries[$0]?.claim } }

  /// All claims that are known.
  package var claims: [Claim] { entries.compactMap { $0?.claim } }

  /// The longest claimed prefix of `name`.
  package func place(of name: [UInt8]) -> Place {
    var front = name[...]
    while !front.isEmpty {
      if let claim = claim(on: Array(front)), claim.isListed {
        return .claimed(claim, prefixBytes: front.count)
      }
      front = front[..<(front.lastIndex(of: Self.slash) ?? front.startIndex)]
    }
    return index.leadsOn(name) ? .shared : .unknown
  }

  /// The components right below the shared context `name`, each with the place of the first entry
  /// that has it.
  package func components(below name: [UInt8]) -> [(position: Int, component: [UInt8])] {
    let front = name.isEmpty ? [] : name + [Self.slash]
    var found: [(Int, [UInt8])] = []
    var seen: Set<[UInt8]> = []
    for (place, entry) in entries.enumerated() {
      guard let claim = entry?.claim, claim.isListed, claim.prefix.count > front.count,
        claim.prefix.starts(with: front)
      else { continue }
      let component = Array(claim.prefix[front.count...].prefix { $0 != Self.slash })
      if seen.insert(component).inserted { found.append((place, component)) }
    }
    return found
  }

  /// The claims that are forgotten with a prefix: that on the prefix itself, and with `host/NAME`
  /// all claims of the host NAME.
  func claims(forgottenWith prefix: [UInt8]) -> [Claim] {
    guard let claim = claim(on: prefix), claim.isListed else { return [] }
    guard prefix == Array("host/\(claim.host)".utf8) else { return [claim] }
    return claims.filter { $0.host == claim.host && $0.isListed }
  }

  /// The claims in some buckets of the digest, from a place on, as many as an answer has room for,
  /// and the place behind them; 0 behind the last.
  package func answer(_ query: QueryClaims) -> QueryClaims.Answer {
    var answer = QueryClaims.Answer(next: 0, claims: [])
    var bytes = 0
    for place in entries.indices.dropFirst(Int(clamping: query.start)) {
      guard let claim = entries[place]?.claim, query.buckets >> UInt64(claim.bucket) & 1 == 1 else {
        continue
      }
      bytes += claim.byteCount
      guard bytes <= Message.segmentBytesMax else {
        answer.next = UInt64(place)
        break
      }
      answer.claims.append(claim)
    }
    return answer
  }

  /// Whether `name` is `front` or below it.
  static func leads(_ front: [UInt8], to name: [UInt8]) -> Bool {
    name.starts(with: front) && (name.count == front.count || name[front.count] == slash)
  }

  static let slash = UInt8(ascii: "/")
}
