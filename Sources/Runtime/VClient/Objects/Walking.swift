internal import VProtocol
public import VRuntime

/// Names of many components, from the root or from a known object.
extension Call {
  /// The limit of Linux.
  private static let linksMax = 40

  /// The object of a name: components separated by `/`, of which `..` goes up and `.` stays.
  ///
  /// Symbolic links are followed, at the end only with `followsLast`. The object is then known, and
  /// one lookup of it is counted; those on the way are forgotten.
  public func walk(
    _ name: [UInt8], from start: ObjectID = ObjectTable.root, followsLast: Bool = true,
    then: @escaping @Sendable (Answer<ObjectID>) -> Void
  ) {
    let trail = Trail(
      rest: Self.components(name), followsLast: followsLast, links: 0, passed: [start])
    step(trail, then)
  }

  /// The state of a walk.
  private struct Trail: Sendable {
    var rest: ArraySlice<[UInt8]>
    let followsLast: Bool
    var links: Int
    /// From the start to the present object; all but the start were looked up.
    var passed: [ObjectID]

    var here: ObjectID { passed[passed.count - 1] }
  }

  private func step(_ trail: Trail, _ then: @escaping @Sendable (Answer<ObjectID>) -> Void) {
    var trail = trail
    while trail.rest.first == Self.up || trail.rest.first == Self.stay {
      let component = trail.rest.removeFirst()
      if component == Self.up, trail.passed.count > 1 {
        client.objects.forget(trail.passed.removeLast(), 1)
      }
    }
    guard let component = trail.rest.popFirst() else { return end(trail, then) }
    let parent = trail.here
    find(component, below: parent) { [self, trail] answer in
      switch answer {
      case .refused(let refusal): giveUp(trail, refusal, then)
      case .done(let descriptor, let manager):
        var trail = trail
        trail.passed.append(
          client.enter(descriptor, of: manager, below: parent, component).id)
        let isFollowed = trail.followsLast || !trail.rest.isEmpty
        guard descriptor.kind == .symbolicLink, isFollowed else { return step(trail, then) }
        follow(trail, then)
      }
    }
  }

  /// The walk has come to a link.
  private func follow(_ trail: Trail, _ then: @escaping @Sendable (Answer<ObjectID>) -> Void) {
    guard trail.links < Self.linksMax else { return giveUp(trail, Refusal(.tooManyLinks), then) }
    ask(about: trail.here) {
      ReadLink($0.name)
    } then: { [self] answer in
      switch answer {
      case .refused(let refusal): giveUp(trail, refusal, then)
      case .done(let link, _):
        var trail = trail
        client.objects.forget(trail.passed.removeLast(), 1)
        trail.links += 1
        var target = Self.components(link.data)
        if link.data.first == Self.slash {
          // Other links lead out of V.
          guard target.popFirst() == Self.mountPoint else {
            return giveUp(trail, Refusal(.notFound), then)
          }
          for id in trail.passed.dropFirst() { client.objects.forget(id, 1) }
          trail.passed = [ObjectTable.root]
        }
        trail.rest = target + trail.rest
        step(trail, then)
      }
    }
  }

  private func end(_ trail: Trail, _ then: @escaping @Sendable (Answer<ObjectID>) -> Void) {
    for id in trail.passed.dropFirst().dropLast() { client.objects.forget(id, 1) }
    then(.done(trail.here, by: client.objects[trail.here]?.object.manager ?? .none))
  }

  private func giveUp(
    _ trail: Trail, _ refusal: Refusal, _ then: @escaping @Sendable (Answer<ObjectID>) -> Void
  ) {
    for id in trail.passed.dropFirst() { client.objects.forget(id, 1) }
    then(.refused(refusal))
  }

  private static func components(_ name: [UInt8]) -> ArraySlice<[UInt8]> {
    name.split(separator: slash).map(Array.init)[...]
  }

  private static let slash = UInt8(ascii: "/")
  private static let up = [UInt8(ascii: "."), UInt8(ascii: ".")]
  private static let stay = [UInt8(ascii: ".")]
  /// The usual mount point of V.
  private static let mountPoint = [UInt8(ascii: "v")]
}
