public import VProtocol

/// The sender of a request: its principal, and the user of this host that it acts as.
public struct Caller: Hashable, Sendable {
  public var principal: Principal
  /// A user of this host; or, for a principal that is nobody here, its own text, which owns only
  /// what that principal makes.
  public var user: String
  /// Whether the request came from this host, as its kernel saw it arrive.
  public var isLocal: Bool

  public init(principal: Principal, user: String, isLocal: Bool) {
    self.principal = principal
    self.user = user
    self.isLocal = isLocal
  }

  /// Whether it has root's rights at this manager.
  public var isRoot: Bool { user == "root" }

  /// Only root of this host sees the numbers of open instances.
  public var seesInstanceNumbers: Bool { isRoot && isLocal }

  /// The part of a list of open instances that the caller may see.
  ///
  /// The first word of a line is the number of the instance; behind a tab is the path of its object
  /// on the host. Both are for root of this host alone.
  public func view(ofInstances lines: String) -> String {
    if seesInstanceNumbers { return lines }
    return lines.split(separator: "\n").map { line in
      "-" + line.drop { $0 != " " }.prefix { $0 != "\t" } + "\n"
    }.joined()
  }
}

extension Caller {
  /// The caller of a request to a manager of `host`, by the rules that hold without a
  /// configuration.
  ///
  /// Users are the same if their names are equal. Root is only root of this host with all of its
  /// rights: root of another host, and of a container, is nobody. So is a user of another host
  /// without a name, whose number may belong to anybody.
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
  /// The sender of a request without a principal.
  public static let unnamed = Principal(user: "nobody", host: "-")
}

extension Refusal {
  /// Words, cut to the length that is shown.
  static func shown(_ words: String) -> String {
    String(decoding: words.utf8.prefix(wordsBytesMax), as: UTF8.self)
  }
}

/// The result of a change: nil if it is done, else a refusal.
public typealias Outcome = @Sendable (Refusal?) -> Void
