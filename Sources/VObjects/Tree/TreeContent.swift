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
}
