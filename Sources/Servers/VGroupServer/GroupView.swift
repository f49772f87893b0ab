import VObjects
package import VProtocol
import VRuntime

/// A group, combined from the answers of all group servers that have it.
package struct GroupView: Sendable {
  package var about: GroupTraits
  /// Members with their whole names.
  package var members: [QueryGroup.Member]
  /// Every host that has the group, in order of name.
  package var hosts: [String]
  /// Whether another group of this name exists, which is about to end: its members receive the
  /// messages to the name.
  package var isDisputed: Bool
  /// Hosts that did not answer, and may have members.
  package var silent: [String]

  /// Nil if no group server has the group.
  package init?(_ answers: [QueryGroup.Answer], silent: [String] = []) {
    let all = answers.map { GroupTraits($0) }
    guard let oldest = all.min(by: { $0.isOlder(than: $1) }) else { return nil }
    about = oldest
    members = answers.flatMap(\.members).sorted { $0.name < $1.name }
    hosts = answers.map(\.host).sorted()
    self.silent = silent
    isDisputed = !all.allSatisfy { $0.isSame(as: oldest) }
  }

  /// A group of which only the name is known: only root may pass it.
  package static func nameOnly() -> GroupView { GroupView([QueryGroup.Answer(host: "")])! }
}

extension GroupTraits {
  package init(_ answer: QueryGroup.Answer) {
    self.init(
      madeAt: answer.madeAt, owner: answer.owner, permissions: answer.permissions & 0o777)
  }
}

extension QueryGroup.Answer {
  /// The answer, as far as it is valid: a group server may tell only of members of its own host,
  /// and only names that can be parsed in a line; nil if it is malformed.
  package func sound(about name: Name) -> QueryGroup.Answer? {
    guard Principal.isName(host), owner.isEmpty || GroupUser.isName(owner) else { return nil }
    var sound = self
    sound.members = members.filter { member in
      if name.isEmpty { return member.name.isGroupName }
      let whole = MemberName(member.name, on: host)
      return whole.host == host && whole.refusal == nil && GroupUser.isName(member.owner)
        && !member.program.isGroup
    }
    return sound
  }
}

/// Groups as they were at the last lookup; every use of a name looks it up again.
package struct GroupViews: Sendable {
  private var views: [Name: (view: GroupView, lookedAt: Time)] = [:]
  package private(set) var names: Set<Name> = []

  /// The groups of five hosts that have as many as possible.
  ///
  /// Beyond it the one is dropped that was looked up longest ago.
  package static let viewsMax = 1024

  package init() {}

  package subscript(name: Name) -> GroupView? { views[name]?.view }

  /// What may be shown under a name without looking it up.
  package func shown(_ name: Name) -> GroupView? {
    self[name] ?? (names.contains(name) ? .nameOnly() : nil)
  }

  package mutating func note(_ view: GroupView?, of name: Name, at now: Time) {
    guard let view else {
      views[name] = nil
      names.remove(name)
      return
    }
    if views.count >= Self.viewsMax && views[name] == nil {
      let oldest = views.min { $0.value.lookedAt < $1.value.lookedAt }
      if let oldest { views[oldest.key] = nil }
    }
    views[name] = (view, now)
  }

  package mutating func note(names: Set<Name>) { self.names = names }
}
