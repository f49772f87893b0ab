public import VProtocol

/// A directory tree that the server makes part of the global name space, and for whom.
public struct Export: Equatable, Sendable {
  /// The name it is served under, such as `storage/kea`.
  public var prefix: [UInt8]
  /// Where it is on this host.
  public var path: String
  public var isReadOnly: Bool
  /// Hosts whose users may use it, besides the serving host's; nil for all.
  public var allowedHosts: [String]?
  /// Hosts whose root is root here, `*` for all; the serving host's own root always is.
  public var rootHosts: [String]
  /// Hosts whose users without a name, `#N`, are those of the same number here, `*` for all; the
  /// serving host's own always are.
  public var numberHosts: [String]

  public init(
    prefix: [UInt8], path: String, isReadOnly: Bool = false, allowedHosts: [String]? = nil,
    rootHosts: [String] = [], numberHosts: [String] = []
  ) {
    self.prefix = prefix
    self.path = path
    self.isReadOnly = isReadOnly
    self.allowedHosts = allowedHosts
    self.rootHosts = rootHosts
    self.numberHosts = numberHosts
  }
}

/// Why an export can not be served.
public struct ExportFailure: Error, CustomStringConvertible {
  public var export: Export
  public var code: ReplyCode

  public var description: String {
    "can not serve \(export.path) as \(String(decoding: export.prefix, as: UTF8.self)): \(code)"
  }
}

// MARK: - Who is who

extension Export {
  /// More exports than a host has directories worth a name; their roots stay open.
  public static let exportsMax = 256

  /// As whom a principal is taken here.
  package enum Standing: Equatable, Sendable {
    case root
    case nobody
    case number(UInt32)
    /// The user of that name, if there is one; root under any name only where `mayBeRoot`.
    case user(String, mayBeRoot: Bool)
  }

  /// Whether a principal may use this export at all.
  ///
  /// Who says to be of the serving host is believed only if the request came from there.
  package func admits(_ principal: Principal?, isLocal: Bool, ownHost: String) -> Bool {
    guard let allowedHosts else { return true }
    guard let host = principal?.host else { return false }
    return host == ownHost ? isLocal : allowedHosts.contains(host)
  }

  /// As whom a principal is taken, whose request came from this host or not.
  ///
  /// Root's rights are given by the export's rules and not by a table of users, so root of a host
  /// that is not trusted is nobody. Root of this host is root for file data without all of its
  /// rights over the host too: it may be one of a container, which has files through Linux as well.
  package func standing(
    of principal: Principal?, isLocal: Bool, ownHost: String
  ) -> Standing {
    guard let principal else { return .nobody }
    let isOwn = principal.host == ownHost
    // Somebody else in the name of this host.
    guard isLocal || !isOwn else { return .nobody }
    let trustsRoot = isOwn || Self.names(principal.host, in: rootHosts)
    if principal.isRoot { return trustsRoot ? .root : .nobody }
    guard principal.user.hasPrefix("#") else {
      return .user(principal.user, mayBeRoot: trustsRoot)
    }
    guard isOwn || Self.names(principal.host, in: numberHosts),
      let number = Self.number(principal.user)
    else { return .nobody }
    return .number(number)
  }

  private static func names(_ host: String, in hosts: [String]) -> Bool {
    hosts.contains("*") || hosts.contains(host)
  }

  /// Root has a name, and Linux takes the greatest number for none at all.
  private static func number(_ user: String) -> UInt32? {
    let digits = user.dropFirst()
    guard digits.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let number = UInt32(digits),
      number > 0, number < UInt32.max
    else { return nil }
    return number
  }
}
