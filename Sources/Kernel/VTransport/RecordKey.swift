package import VProtocol

/// The key of a remote client's record: one for its requests to single entities, and one for each
/// local member of a group that it asked.
package struct RecordKey: Hashable, Sendable {
  package var client: EntityID
  package var member: EntityID

  package init(client: EntityID, member: EntityID) {
    (self.client, self.member) = (client, member)
  }

  package func _rawHashValue(seed: Int) -> Int {
    client._rawHashValue(seed: member._rawHashValue(seed: seed))
  }
}

/// Where the order of records shows, it is the same in every run.
extension RecordKey: Comparable {
  package static func < (left: RecordKey, right: RecordKey) -> Bool {
    (left.client.rawValue, left.member.rawValue)
      < (right.client.rawValue, right.member.rawValue)
  }
}

extension RecordKey {
  /// The record of a request that a local server works on.
  package init(_ request: Request) {
    self.init(
      client: request.client, member: request.addressee.isGroup ? request.server : .none)
  }
}
