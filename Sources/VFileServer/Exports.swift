public import VProtocol
import VRuntime

/// A directory tree that the server makes part of the global name space, and for whom.
public struct Export: Sendable {
  /// The name it is served under, such as `storage/kea`.
  public var prefix: [UInt8]
  /// Where it is on this host.
  public var path: String
  public var isReadOnly: Bool
  /// Hosts whose users may use it, besides the serving host's; nil for all.
  public var allowedHosts: [String]?
  /// Hosts whose root is root here, `*` for all; the serving host's own root always is.
  public var rootHosts: [String]

  public init(
    prefix: [UInt8], path: String, isReadOnly: Bool = false, allowedHosts: [String]? = nil,
    rootHosts: [String] = []
  ) {
    self.prefix = prefix
    self.path = path
    self.isReadOnly = isReadOnly
    self.allowedHosts = allowedHosts
    self.rootHosts = rootHosts
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

extension Export {
  /// More exports than a host has directories worth a name; their roots stay open.
  package static let exportsMax = 256

  /// Whether users of the host of `principal` may use this export at all.
  func admits(_ principal: Principal?, ownHost: String) -> Bool {
    guard let allowedHosts else { return true }
    guard let host = principal?.host else { return false }
    return host == ownHost || allowedHosts.contains(host)
  }

  /// Whether root of `host` is root in this export.
  func trustsRoot(of host: String, ownHost: String) -> Bool {
    host == ownHost || rootHosts.contains("*") || rootHosts.contains(host)
  }
}
