import Fixtures
import Testing
import VProtocol

/// Only the codec defines a layout; here each page's table is compared with it.
@Suite("Layout of operations")
struct LayoutTests {
  @Test("the table of a page has each property where the codec has it", arguments: codes)
  func layout(code: UInt32) throws {
    let entry = try #require(OperationTable.entry(code))
    let section = try #require(
      ProtocolPage.operations.first { $0.name == entry.name }?.section, "no page has it")
    let rows = try #require(
      section.rows(under: ["Word", "Request", "Answer"]), "\(section.page) has no table of it")
    let (request, answer) = Self.codecs(of: entry)
    #expect(!request.samples.isEmpty && answer?.samples.isEmpty != true, "no sample")
    let faults = try Self.faults(rows, column: 1, Layout(of: request))
    #expect(faults == [], "request of \(entry.name)")
    guard let answer else { return }
    let answerFaults = try Self.faults(rows, column: 2, Layout(of: answer))
    #expect(answerFaults == [], "answer to \(entry.name)")
  }

  @Test("the fields of a name are where their page has them")
  func nameFields() throws {
    let section = try #require(ProtocolPage.section("Name fields"))
    let rows = try #require(section.rows(under: ["Word", "Request"]))
    let codec = Codec(
      samples: Samples.names.prefix(3).map { QueryObject($0).message },
      parse: { try? ContextName(parsing: $0) }, emit: { QueryObject($0 as! ContextName).message })
    let faults = try Self.faults(rows, column: 1, Layout(of: codec))
    #expect(faults == [])
  }

  @Test("a table with any other layout is found")
  func wrongTables() throws {
    let codec = Codec(of: AddName.self, Samples.operations.map(\.value).filter(Self.isSmall))
    let layout = Layout(of: codec)
    let right = [
      ["1, 2, 3", "`name`"], ["4 high", "`kind`"], ["4 low", "`permissions`"],
      ["5, 6", "`deviceNumber`"], ["segment", "`name`, `target`: of a link"],
    ]
    #expect(try Self.faults(right, column: 1, layout) == [])
    for index in right.indices {
      var without = right
      without.remove(at: index)
      #expect(try Self.faults(without, column: 1, layout) != [], "\(right[index])")
      var wrong = right
      wrong[index][1] = "`other`"
      #expect(try Self.faults(wrong, column: 1, layout) != [], "\(right[index])")
      wrong[index][1] = "0"
      #expect(try Self.faults(wrong, column: 1, layout) != [], "\(right[index])")
    }
    for row in [["7", "`kind`"], ["4", "`kind`, `permissions`"], ["5", "`deviceNumber`"]] {
      #expect(try Self.faults(right + [row], column: 1, layout) != [])
    }
    let joined = [right[0], ["4", "`kind`, `permissions`"], right[3], right[4]]
    #expect(try Self.faults(joined, column: 1, layout) != [])
  }

  // MARK: what a table says

  private struct BadRow: Error { let cell: String }

  /// The half words of a first cell: `1, 2`, `3`, `4 high`.
  private static func halves(_ cell: String) throws -> [Layout.Half] {
    try cell.split(separator: ", ").flatMap { part -> [Layout.Half] in
      let words = part.split(separator: " ")
      guard let word = words.first.flatMap({ Int($0) }), 1...7 ~= word else {
        throw BadRow(cell: cell)
      }
      switch words.dropFirst() {
      case []: return [true, false].map { Layout.Half(word: word, isHigh: $0) }
      case ["high"]: return [Layout.Half(word: word, isHigh: true)]
      case ["low"]: return [Layout.Half(word: word, isHigh: false)]
      default: throw BadRow(cell: cell)
      }
    }
  }

  /// The differences between a column of a table and the layout; empty if there are none.
  ///
  /// A word is named by the property that it has, or whose length it has; a property that only
  /// starts elsewhere in the segment because of that length is named by the segment.
  private static func faults(
    _ rows: [ProtocolPage.Row], column: Int, _ layout: Layout
  ) throws -> [String] {
    var faults: [String] = []
    var seen: Set<Layout.Half> = []
    var segment: Set<String> = []
    for row in rows {
      guard row.count > column, !row[column].isEmpty else { continue }
      let named = ProtocolPage.properties(row[column])
      if row[0] == "segment" {
        segment.formUnion(named)
        continue
      }
      let covered = try halves(row[0])
      if !seen.isDisjoint(with: covered) { faults.append("\(row[0]) is there twice") }
      seen.formUnion(covered)
      for word in Set(covered.map(\.word)) {
        let parts = covered.filter { $0.word == word }.map(layout.properties(of:))
        let there = parts.reduce(Set<String>()) { $0.union($1) }
        let needed = there.subtracting(layout.segment)
        let isSaid =
          needed.isSubset(of: named) && named.isSubset(of: there) && named.isEmpty == there.isEmpty
        if !isSaid { faults.append("\(row[0]) has \(there.sorted()), not \(named.sorted())") }
        let ends = parts.filter { !$0.isEmpty }
        if ends.count == 2, ends[0].isDisjoint(with: ends[1]) {
          faults.append("the halves of \(word) differ")
        }
      }
    }
    for (half, properties) in layout.halves where !seen.contains(half) {
      faults.append("\(half), \(properties.sorted()), is missing")
    }
    if segment != layout.segment {
      faults.append("the segment has \(layout.segment.sorted()), not \(segment.sorted())")
    }
    return faults.sorted()
  }

  // MARK: what a codec says

  private static let codes = OperationTable.entries.map(\.code)

  /// A large segment shows no more than a small one, and takes long.
  private static func isSmall(_ operation: any Operation) -> Bool {
    operation.message.segment.count < 1200
      || operation is AddName && operation.message.segment.count < 4200
  }

  private static func codecs(of entry: OperationTable.Entry) -> (Codec, Codec?) {
    if let operation = entry.operation { return codecs(of: operation) }
    switch entry.code {
    case Management.notifyServer:
      let notify = NotifyServer(
        server: Samples.all, client: Samples.entity, transaction: TransactionID(5), delivery: [],
        code: .retry)
      let codec = Codec(
        samples: [Message(notify.mcb)], parse: { NotifyServer(parsing: $0.mcb) },
        emit: { Message(($0 as! NotifyServer).mcb) })
      return (codec, nil)
    case Management.queryOutcome:
      let query = QueryOutcome(client: Samples.all, transaction: TransactionID(5))
      let codec = Codec(
        samples: [Message(query.mcb)], parse: { QueryOutcome(parsing: $0.mcb) },
        emit: { Message(($0 as! QueryOutcome).mcb) })
      return (codec, nil)
    case Management.beginTransaction:
      let state = ProbeEntity.EntityState(
        transaction: TransactionID(5), entity: Samples.entity, isAwaitingResponse: true,
        principal: "ann@kea", marks: .fullRoot, startedAt: 1 << 40 | 7)
      let codec = Codec(
        samples: [BeginTransaction(state).message], parse: { try? BeginTransaction(parsing: $0) },
        emit: { ($0 as! BeginTransaction).message })
      return (codec, nil)
    default:
      let notify = NotifyClient(
        client: Samples.all, transaction: TransactionID(5), delivery: [], code: .retry,
        retransmitCount: 3, forwardCount: 1)
      let isRemote = entry.code == Management.notifyRemoteClient
      let emit = { (value: Any) -> Message in
        let notify = value as! NotifyClient
        return Message(isRemote ? notify.remoteMCB : notify.mcb)
      }
      let codec = Codec(
        samples: [emit(notify)], parse: { NotifyClient(parsing: $0.mcb) }, emit: emit)
      return (codec, nil)
    }
  }

  private static func codecs<Value: Operation>(of type: Value.Type) -> (Codec, Codec?) {
    let operations = (Samples.operations.map(\.value) + Samples.more).filter(isSmall)
    let answers = Samples.answers.map(\.value) + Samples.moreAnswers
    return (
      Codec(of: type, operations),
      Codec(of: Value.Answer.self, answers.filter { $0.message.segment.count < 1200 })
    )
  }
}

extension Samples {
  /// Lists, which a truncation makes shorter.
  static let more: [any Operation] = [
    SpreadClaims([claim], wantsAnswer: false),
    SpreadDigest(entity, ClaimDigest(), [claim]),
    WriteInstance(InstanceID(rawValue: 0), position: 0, data: [0x61]),
  ]

  private static let claim = Claim(
    prefix: Array("a/b".utf8), manager: entity, context: ContextID(rawValue: 7), host: "kea",
    clock: 9, state: .present)

  static let moreAnswers: [any OperationAnswer] = [
    QueryClaims.Answer(next: 1, claims: [claim]),
    {
      var answer = QueryGroup.Answer(host: "kea")
      answer.members = [QueryGroup.Member("moa:1.a", owner: "ann", program: entity)]
      return answer
    }(),
  ]
}
