public import VProtocol
public import VRuntime

/// Every server that `v serve` runs in a process of its own; the usual ones also run, unchanged,
/// inside a node.
///
/// A new one is a target in `Sources/Servers`, an entry in `ServerEntries.swift` and a name here.
public enum ServerRegistry {
  public static let all: [ServerEntry] = [
    .fileServer, .pipeServer, .teamServer, .groupServer, .ramFileServer,
  ]

  /// The servers that a node runs unless its configuration leaves them out; it runs no others.
  public static var usualNames: [String] { all.filter(\.isUsual).map(\.name) }

  public static subscript(name: String) -> ServerEntry? { all.first { $0.name == name } }
}

/// A server as the registry knows it.
public struct ServerEntry: Sendable {
  /// Its name in the configuration and for `v serve`.
  public let name: String
  /// Its names in `/v`, for people.
  public let summary: String
  /// A node runs it unless its configuration leaves it out; no node runs the others.
  public let isUsual: Bool
  /// Prepares before there are threads, and returns how the server is made.
  public let prepare: @Sendable (ServerOptions) throws(ServerFailure) -> Plug

  /// Makes the server on a backplane.
  public typealias Plug = (any Backplane) throws(ServerFailure) -> RunningServer
}

/// A running server: the prefixes that it claims, and how.
public struct RunningServer {
  /// Called with the result of a claim; once more with `duplicateName` for one that is lost later,
  /// and with `ok` when it is held again.
  public typealias Told = @Sendable (_ prefix: String, ReplyCode) -> Void

  /// Each with its directory of this host, if it has one.
  public let prefixes: [(prefix: String, path: String?)]
  /// Claims every prefix.
  public let claim: (_ directory: EntityID, _ told: @escaping Told) -> Void
  /// Ends everything that would outlive the process, and waits for that.
  public let end: () -> Void
  /// Applies a changed configuration, as far as that can be done while it runs; `Told` is called
  /// for each new prefix.
  public let change: (ServerOptions) throws(ServerFailure) -> Void

  init(
    prefixes: [(prefix: String, path: String?)],
    claim: @escaping (_ directory: EntityID, _ told: @escaping Told) -> Void,
    end: @escaping () -> Void = {},
    change: @escaping (ServerOptions) throws(ServerFailure) -> Void = { _ in }
  ) {
    self.prefixes = prefixes
    self.claim = claim
    self.end = end
    self.change = change
  }
}

/// Why a server cannot run, in one sentence that names the cause.
public struct ServerFailure: Error, CustomStringConvertible {
  public var description: String
}
