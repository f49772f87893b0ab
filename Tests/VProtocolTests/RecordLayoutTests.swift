import Fixtures
import Testing
import VProtocol

/// The records within segments, compared with the tables of their pages like operations.
@Suite("Layout of records")
struct RecordLayoutTests {
  struct Record: Sendable {
    let heading: String
    let octets: [UInt8]
    let parse: @Sendable ([UInt8]) -> Any?
  }

  private static let records: [Record] = [
    Record(heading: "Descriptor", octets: descriptor.message.segment) { octets in
      var reader = SegmentReader(octets)
      return (try? Descriptor(parsing: &reader)).map { Fields($0) }
    },
    Record(heading: "Modification", octets: modification.octets) { octets in
      var reader = SegmentReader(octets)
      return try? Modification(parsing: &reader)
    },
    Record(heading: "Lock", octets: QueryLock.Answer(lock: lock).message.segment) { octets in
      try? QueryLock.Answer(parsing: Message(MessageControlBlock(), segment: octets)).lock
    },
    Record(heading: "Claim", octets: claim) { octets in
      var reader = SegmentReader(octets)
      return try? Claim(parsing: &reader)
    },
  ]

  private static let lock = ObjectLock(
    .exclusive, isWhole: true, owner: 5, range: 16...(1 << 63), process: 7)

  /// Texts of some letters, so that shorter lengths are texts too.
  private static let descriptor: Descriptor = {
    var value = Samples.descriptor
    value.owner = "annann"
    value.group = "staffs"
    value.name = Array("some.c".utf8)
    return value
  }()

  private static let modification: Modification = {
    var value = Samples.modification
    value.group = "staff"
    return value
  }()

  private static let claim: [UInt8] = {
    var writer = SegmentWriter()
    Claim(
      prefix: Array("abc".utf8), manager: Samples.entity, context: ContextID(rawValue: 7),
      host: "moa", clock: 9, state: .present
    ).emit(into: &writer)
    return writer.bytes
  }()

  /// A descriptor's properties, which count as one elsewhere.
  private struct Fields: CustomReflectable {
    let mirror: Mirror
    init(_ descriptor: Descriptor) { mirror = Mirror(reflecting: descriptor) }
    var customMirror: Mirror { mirror }
  }

  @Test("the table of a record has each property at its octets", arguments: records.indices)
  func layout(index: Int) throws {
    let record = Self.records[index]
    let section = try #require(ProtocolPage.section(record.heading))
    let rows = try #require(section.rows(under: ["Offset", "Octets", "Field"]))
    var end = 0
    for row in rows {
      let offset = try #require(Int(row[0]), "\(row)")
      #expect(offset == end, "\(row) leaves a gap")
      end = row[1].isEmpty ? record.octets.count : offset + (try #require(Int(row[1]), "\(row)"))
      let found = (offset..<end).reduce(into: Set<String>()) { found, octet in
        found.formUnion(Self.properties(of: octet, record))
      }
      #expect(found == ProtocolPage.properties(row[2]), "\(record.heading), octet \(offset)")
    }
    #expect(end == record.octets.count)
  }

  /// The properties that change with an octet.
  private static func properties(of octet: Int, _ record: Record) -> Set<String> {
    guard let value = record.parse(record.octets) else { return [] }
    var found: Set<String> = []
    let own = record.octets[octet]
    for changed in (0..<8).map({ own ^ 1 << UInt8($0) }) + (0...20) {
      var octets = record.octets
      octets[octet] = changed
      guard let other = record.parse(octets) else { continue }
      found.formUnion(Layout.differences(value, other))
    }
    return found
  }
}
