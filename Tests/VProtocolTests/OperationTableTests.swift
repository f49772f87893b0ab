import Fixtures
import Foundation
import Testing
import VProtocol

@Suite("Table of operations")
struct OperationTableTests {
  /// The text of each file of the protocol.
  private static func sources() throws -> [(file: String, text: String)] {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appending(path: "../../Sources/Protocol/VProtocol")
    return try FileManager.default.subpathsOfDirectory(atPath: folder.path)
      .filter { $0.hasSuffix(".swift") }
      .map { ($0, try String(contentsOf: folder.appending(path: $0), encoding: .utf8)) }
  }

  @Test("it has each code that the sources declare, once, in order")
  func codesOfSources() throws {
    let declaration = /static let [a-zA-Z]+: UInt32 = 0x(00[0-9A-F]{4})\s/
    var codes: [UInt32] = []
    for (_, text) in try Self.sources() {
      codes += text.matches(of: declaration).compactMap { UInt32($0.1, radix: 16) }
    }
    #expect(codes.count > 40)
    #expect(OperationTable.entries.map(\.code) == codes.sorted())
    #expect(Set(OperationTable.entries.map(\.name)).count == codes.count)
    for entry in OperationTable.entries {
      #expect(OperationTable.entry(entry.code)?.name == entry.name)
    }
    #expect(OperationTable.entry(0x001100) == nil)
  }

  @Test("no comment repeats a layout of the codec")
  func comments() throws {
    let repeated = #/// .*\b(Words|Segment|Segment, texts):/#
    #expect("/// Words: 1, 2 the process.".contains(repeated))
    for (file, text) in try Self.sources() {
      let lines = text.split(separator: "\n").filter { $0.contains(repeated) }
      #expect(lines == [], "\(file)")
    }
  }

  @Test("the pages have the same operations with the same codes, each once")
  func pages() {
    let pages = ProtocolPage.operations.map { "\($0.name) \(String($0.code, radix: 16))" }
    let table = OperationTable.entries.map { "\($0.name) \(String($0.code, radix: 16))" }
    #expect(pages.sorted() == table.sorted())
  }

  @Test("a page says who may use an operation, and whether it may be repeated, as the table does")
  func prose() {
    for (name, code, section) in ProtocolPage.operations {
      guard let entry = OperationTable.entry(code) else { continue }
      #expect(section.text.contains(entry.access.sentence), "\(name): \(entry.access.sentence)")
      #expect(section.text.components(separatedBy: "Access:").count == 2, "\(name)")
      let words = entry.isIdempotent ? "Idempotent" : "Not idempotent"
      let other = entry.isIdempotent ? "Not idempotent" : "Idempotent"
      #expect(section.text.contains(words) && !section.text.contains(other), "\(name): \(words)")
    }
  }

  private static let codes = OperationTable.entries.map(\.code)

  @Test("there is a well-formed sample of each operation", arguments: codes)
  func samples(code: UInt32) throws {
    let entry = try #require(OperationTable.entry(code))
    let targets = RequestTargets()
    let message = try #require(targets.message(entry.code))
    #expect(message.mcb.code == entry.code)
    guard let type = entry.operation else { return }
    let operation = try #require(targets.operation(entry.code))
    #expect("\(Swift.type(of: operation))" == entry.name)
    #expect(try type.init(parsing: message).message == message)
    if let creation = operation as? CreateInstance { #expect(creation.mode.isPossible) }
  }

  @Test("a code without an operation has no sample")
  func noSample() {
    #expect(RequestTargets().message(0x001100) == nil)
    #expect(RequestTargets().message(0x001604) == nil)
  }
}
