import Testing
import VProtocol

/// RFC 1045's matrix, by bits: the rules once more, for every two sets of permissions.
@Suite("Permissions of members")
struct MembershipTests {
  private static let sets = (0...255).map { MembershipPermissions(rawValue: UInt8($0)) }

  @Test("G12: adding needs the right, except of oneself to an open group, and gives no more rights")
  func adding() {
    var wrong: [String] = []
    for new in Self.sets {
      for actor in Self.sets {
        let (has, gets) = (Int(actor.rawValue), Int(new.rawValue))
        let keeps = gets & ~has == 0
        let asOwn = has & 0x10 != 0 && keeps
        let open = gets & ~(has | 0x4E) == 0
        let expected = [asOwn, asOwn, has & 0x20 != 0 && keeps]
        let expectedOpen = [open, open, has & 0x20 != 0 && keeps]
        for (index, relation) in MembershipPermissions.Relation.allCases.enumerated()
        where new.mayBeAdded(by: actor, relation, isRestricted: true) != expected[index]
          || new.mayBeAdded(by: actor, relation, isRestricted: false) != expectedOpen[index]
        {
          wrong.append("\(new.rawValue) by \(actor.rawValue), \(relation)")
        }
      }
    }
    #expect(wrong == [])
  }

  @Test("G12: removing needs the right, and that the member lets it, except of a manager")
  func removing() {
    var wrong: [String] = []
    for target in Self.sets {
      for actor in Self.sets {
        let (has, lets) = (actor.rawValue, target.rawValue)
        let isManager = has & 0x01 != 0
        let expected = [
          isManager || lets & 0x02 != 0,
          isManager || lets & 0x04 != 0 && has & 0x40 != 0,
          isManager || lets & 0x08 != 0 && has & 0x80 != 0,
        ]
        for (index, relation) in MembershipPermissions.Relation.allCases.enumerated()
        where target.mayBeRemoved(by: actor, relation) != expected[index] {
          wrong.append("\(target.rawValue) by \(actor.rawValue), \(relation)")
        }
      }
    }
    #expect(wrong == [])
  }
}
