public import VProtocol

/// A directory tree that the server puts into the global name space, with the hosts that may use
/// it.
public struct Export: Equatable, Sendable {
  /// The prefix that it has, such as `storage/kea`.
  public var prefix: [UInt8]
  /// Its directory on this host.
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

/// Why an export cannot be served.
public struct ExportFailure: Error, CustomStringConvertible {
  public var export: Export
  public var code: ReplyCode

  public var description: String {
    "can not serve \(export.path) as \(String(decoding: export.prefix, as: UTF8.self)): \(code)"
  }
}

// MARK: - Who is who

extension Export {
  /// More exports than a host has directories worth exporting; their roots stay open.
  public static let exportsMax = 256

  /// The user of this host that a principal acts as.
  package enum Standing: Equatable, Sendable {
    case root
    case nobody
    case number(UInt32)
    /// The user of that name, if there is one; root, under whatever name, only with `mayBeRoot`.
    case user(String, mayBeRoot: Bool)
  }

  /// Whether a principal may use this export at all.
  ///
  /// A principal of the serving host is believed only if the request came from there.
  package func admits(_ principal: Principal?, isLocal: Bool, ownHost: String) -> Bool {
    guard let allowedHosts else { return true }
    guard let host = principal?.host else { return false }
    return host == ownHost ? isLocal : allowedHosts.contains(host)
  }

  /// The user that a principal acts as, whose request came from this host or not.
  ///
  /// Root's rights come from the export's rules and not from a table of users, so root of an
  /// untrusted host is nobody. Root of this host is root for file data even without all of its
  /// rights over the host: it may be root of a container, which has files through Linux as well.
  package func standing(
    of principal: Principal?, isLocal: Bool, ownHost: String
  ) -> Standing {
    guard let principal else { return .nobody }
    let isOwn = principal.host == ownHost
    // Another host has sent it in the name of this host.
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

  /// Root has a name, and Linux treats the greatest number as none.
  private static func number(_ user: String) -> UInt32? {
    let digits = user.dropFirst()
    guard digits.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let number = UInt32(digits),
      number > 0, number < UInt32.max
    else { return nil }
    return number
  }
}
