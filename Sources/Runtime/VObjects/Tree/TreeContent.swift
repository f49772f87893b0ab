import VProtocol

/// The content of an instance of a tree.
struct TreeContent: Sendable {
  enum Object: Sendable {
    case records([Descriptor])
    /// A text as it was when it was opened.
    case text([UInt8], changedAt: Int64, TreeText)
    case session(any TreeSession)
  }

  var path: TreePath
  var object: Object

  /// The octets of memory that it takes.
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
