public import VProtocol
public import VRuntime

/// Every server that `v serve` runs in a process of its own; the usual ones run, unchanged, inside
/// a node too.
///
/// A new one is a target in `Sources/Servers`, an entry in `ServerEntries.swift` and a name here.
public enum ServerRegistry {
  public static let all: [ServerEntry] = [
    .fileServer, .pipeServer, .teamServer, .groupServer, .ramFileServer,
  ]

  /// Those that a node runs unless its configuration leaves them out; it runs no others.
  public static var usualNames: [String] { all.filter(\.isUsual).map(\.name) }

  public static subscript(name: String) -> ServerEntry? { all.first { $0.name == name } }
}

/// A server as the registry knows it.
public struct ServerEntry: Sendable {
  /// In the configuration, and of `v serve`.
  public let name: String
  /// What it serves, for people.
  public let summary: String
  /// A node runs it unless its configuration leaves it out; no node runs the others.
  public let isUsual: Bool
  /// Does what has to be done before there are threads, then says how it is plugged in.
  public let prepare: @Sendable (ServerOptions) throws(ServerFailure) -> Plug

  /// Makes the server on a backplane.
  public typealias Plug = (any Backplane) throws(ServerFailure) -> RunningServer
}

/// A server that is plugged in: which prefixes it claims, and how, in a directory.
public struct RunningServer {
  /// What became of a claim; once more `duplicateName` for one that is lost later.
  public typealias Told = @Sendable (_ prefix: String, ReplyCode) -> Void

  /// Each with the directory of this host that it stands for, if it is one.
  public let prefixes: [(prefix: String, path: String?)]
  /// Claims every prefix.
  public let claim: (_ directory: EntityID, _ told: @escaping Told) -> Void
  /// Ends what would outlive the process, and waits for that.
  public let end: () -> Void
  /// Takes up what a configuration says now, as far as that can be done while it runs: `Told` of
  /// each prefix that is new.
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

/// Why a server cannot run, in one sentence that names the thing.
public struct ServerFailure: Error, CustomStringConvertible {
  public var description: String
}
