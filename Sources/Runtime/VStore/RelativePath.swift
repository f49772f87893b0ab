import VProtocol

/// The rest of a name, below some directory: checked once, so that no store gets `..` or an empty
/// component.
///
/// Without components it is the directory itself.
public struct RelativePath: Sendable {
  /// The components with one `/` between them.
  public let octets: [UInt8]
  /// Where the last component starts.
  private let lastStart: Int

  /// Checks octets from the wire: `badArguments` if a component is empty, `.` or `..` or has a NUL,
  /// `nameTooLong` if one has more than 255 octets.
  public init(_ rest: some Collection<UInt8>) throws(StoreFailure) {
    let octets = Array(rest)
    var start = 0
    var lastStart = 0
    while !octets.isEmpty {
      let end = octets[start...].firstIndex(of: Self.slash) ?? octets.endIndex
      try Self.check(octets[start..<end])
      lastStart = start
      guard end < octets.endIndex else { break }
      start = end + 1
    }
    self.octets = octets
    self.lastStart = lastStart
  }

  private init(checked octets: [UInt8]) {
    self.octets = octets
    lastStart = (octets.lastIndex(of: Self.slash) ?? -1) + 1
  }

  public var isEmpty: Bool { octets.isEmpty }
  /// The last component; empty if there is none.
  public var last: [UInt8] { Array(octets[lastStart...]) }
  /// All but the last component.
  public var parent: RelativePath {
    RelativePath(checked: Array(octets[..<max(0, lastStart - 1)]))
  }

  private static func check(_ component: ArraySlice<UInt8>) throws(StoreFailure) {
    let dot = UInt8(ascii: ".")
    guard !component.isEmpty, !component.contains(0), !component.elementsEqual([dot]),
      !component.elementsEqual([dot, dot])
    else { throw .refused(.badArguments) }
    guard component.count <= Descriptor.nameBytesMax else { throw .refused(.nameTooLong) }
  }

  private static let slash = UInt8(ascii: "/")
}
