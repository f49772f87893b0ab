import VProtocol

/// What an instance of a tree is of.
struct TreeContent: Sendable {
  enum Object: Sendable {
    case records([Descriptor])
    /// As it was when it was opened.
    case text([UInt8], changedAt: Int64, TreeText)
    case session(any TreeSession)
  }

  var path: TreePath
  var object: Object

  /// The memory that it keeps for itself.
  var octets: Int {
    switch object {
    case .records(let records):
      records.reduce(0) { $0 + MemoryLayout<Descriptor>.stride + $1.name.count }
    case .text(let octets, _, _): octets.count
    case .session: 0
    }
  }

  /// Of all instances of one manager: one user's quarter is sixteen texts of a megabyte.
  static let octetsMax = 64 << 20
}
