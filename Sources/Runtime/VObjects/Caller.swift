public import VProtocol

/// Who asks: the principal, and the user of this host that a manager takes it for.
public struct Caller: Hashable, Sendable {
  public var principal: Principal
  /// A user of this host; or, for a principal that is nobody here, its own text, which owns only
  /// what that principal made.
  public var user: String
  /// The request came from this host, as its kernel saw it arrive.
  public var isLocal: Bool

  public init(principal: Principal, user: String, isLocal: Bool) {
    self.principal = principal
    self.user = user
    self.isLocal = isLocal
  }

  /// Has root's rights at this manager.
  public var isRoot: Bool { user == "root" }

  /// Only root of this host sees the numbers of open instances.
  public var seesInstanceNumbers: Bool { isRoot && isLocal }

  /// What the caller sees of a list of open instances; their numbers are the first word of each
  /// line.
  public func view(ofInstances lines: String) -> String {
    if seesInstanceNumbers { return lines }
    return lines.split(separator: "\n").map { "-" + $0.drop { $0 != " " } + "\n" }.joined()
  }
}

extension Caller {
  /// The caller of a request to a manager of `host`, by the rules that hold where nothing else is
  /// configured.
  ///
  /// Users are the same if their names are. Root is root of this host with all of its rights only:
  /// root of another host, and of a container, is nobody. So is a number without a name of another
  /// host, where it may mean anybody.
  public init(_ request: Request, at host: String, trustsRoot: (Principal) -> Bool = { _ in false })
  {
    let principal = request.principal ?? .unnamed
    let isOwn = principal.host == host
    let isNobody: Bool
    if principal.isRoot {
      let isFull = isOwn && request.isLocal && principal.isFullRoot
      isNobody = !isFull && !trustsRoot(principal)
    } else {
      isNobody = !isOwn && principal.user.hasPrefix("#")
    }
    self.init(
      principal: principal, user: isNobody ? "\(principal)" : principal.user,
      isLocal: request.isLocal)
  }
}

extension Principal {
  /// Who sent a request that no kernel says the sender of.
  public static let unnamed = Principal(user: "nobody", host: "-")
}

extension Refusal {
  /// Words as far as they are shown.
  static func shown(_ words: String) -> String {
    String(decoding: words.utf8.prefix(wordsBytesMax), as: UTF8.self)
  }
}

/// What becomes of a change: done, or refused.
public typealias Outcome = @Sendable (Refusal?) -> Void
