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

/// The exports of one server, each with the directory it starts at.
package struct Exports: Sendable {
  /// What a prefix or the front of one means.
  enum Match: Equatable {
    /// The name starts with an export's prefix of this many octets.
    case export(Int, prefixBytes: Int)
    /// The name leads to prefixes of exports.
    case shared
  }

  private let exports: [Export]
  /// The context of each export's root: fixed as long as the server lives.
  private let roots: [ContextID]

  init(_ exports: [Export], roots: [ContextID]) {
    precondition(exports.count == roots.count, "every export has a root")
    self.exports = exports
    self.roots = roots
  }

  var indices: Range<Int> { exports.indices }
  subscript(number: Int) -> Export { exports[number] }
  func root(_ number: Int) -> ContextID { roots[number] }

  /// Finds the export with the longest prefix of `name`, by whole components.
  func match(_ name: ArraySlice<UInt8>) -> Match? {
    let longest = exports.indices.filter { Self.leads(exports[$0].prefix[...], to: name) }
      .max { exports[$0].prefix.count < exports[$1].prefix.count }
    if let longest { return .export(longest, prefixBytes: exports[longest].prefix.count) }
    return exports.contains { Self.leads(name, to: $0.prefix[...]) } ? .shared : nil
  }

  private static func leads(_ front: ArraySlice<UInt8>, to name: ArraySlice<UInt8>) -> Bool {
    guard name.starts(with: front) else { return false }
    return front.isEmpty || front.count == name.count
      || name[name.startIndex + front.count] == UInt8(ascii: "/")
  }

  /// More exports than a host has directories worth a name; their roots stay open.
  package static let exportsMax = 256
}

extension Export {
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
