import VObjects
package import VProtocol
import VRuntime

/// A group as all boards that have it see it together.
package struct GroupView: Sendable {
  package var about: GroupTraits
  /// Members with their whole names.
  package var members: [QueryGroup.Member]
  /// Every host that has the group, in order of name.
  package var hosts: [String]
  /// Some board has another group of this name, which is about to end: its members hear what is
  /// sent to the name.
  package var isDisputed: Bool
  /// Hosts that did not answer, and may have members.
  package var silent: [String]

  /// Nil where no board has the group.
  package init?(_ answers: [QueryGroup.Answer], silent: [String] = []) {
    let all = answers.map { GroupTraits($0) }
    guard let oldest = all.min(by: { $0.isOlder(than: $1) }) else { return nil }
    about = oldest
    members = answers.flatMap(\.members).sorted { $0.name < $1.name }
    hosts = answers.map(\.host).sorted()
    self.silent = silent
    isDisputed = !all.allSatisfy { $0.isSame(as: oldest) }
  }

  /// A group of which only the name is known: nobody passes it but root.
  package static func nameOnly() -> GroupView { GroupView([QueryGroup.Answer(host: "")])! }
}

extension GroupTraits {
  package init(_ answer: QueryGroup.Answer) {
    self.init(
      madeAt: answer.madeAt, owner: answer.owner, permissions: answer.permissions & 0o777)
  }
}

extension QueryGroup.Answer {
  /// The answer as far as it is sound: a board tells of members of its own host only, and of no
  /// names that others could not read in a line; nil if it is none.
  package func sound(about name: Name) -> QueryGroup.Answer? {
    guard Principal.isName(host), owner.isEmpty || GroupUser.isName(owner) else { return nil }
    var sound = self
    sound.members = members.filter { member in
      if name.isEmpty { return member.name.isGroupName }
      let whole = MemberName(member.name, on: host)
      return whole.host == host && whole.refusal == nil && GroupUser.isName(member.owner)
    }
    return sound
  }
}

/// Groups as they were when somebody last looked; every use of a name looks anew.
package struct GroupViews: Sendable {
  private var views: [Name: (view: GroupView, lookedAt: Time)] = [:]
  package private(set) var names: Set<Name> = []

  /// What five hosts have if their groups are all that they may have.
  ///
  /// Beyond it that one is forgotten which was looked at longest ago.
  package static let viewsMax = 1024

  package init() {}

  package subscript(name: Name) -> GroupView? { views[name]?.view }

  /// What may be shown under a name without looking.
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
