import Fixtures
import Foundation
import Testing
import VProtocol

@Suite("Pages of the protocol")
struct PageTests {
  @Test("every reply code has its number, its name, its error number and its meaning on the page")
  func replyCodes() throws {
    let section = try #require(ProtocolPage.sections.first { $0.heading == "Reply codes" })
    let rows = try #require(section.rows(under: ["Code", "Name", "errno", "Meaning"]))
    let expected = try ReplyCode.named.map { code -> [String] in
      let name = try #require(Self.names[code.rawValue])
      return [String(format: "%06X", code.rawValue), name, "\(code.errno)", "\(code)"]
    }
    #expect(rows == expected)
  }

  /// The names that the source gives to numbers.
  private static let names: [UInt32: String] = {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    let source = tests.appending(path: "../../Sources/Protocol/VProtocol/VMTP/ReplyCode.swift")
    let text = (try? String(contentsOf: source, encoding: .utf8)) ?? ""
    var names: [UInt32: String] = [:]
    let declaration = /static let (\w+) = ReplyCode\(rawValue: (0x)?(\w+)\)/
    for match in text.matches(of: declaration) {
      let digits = match.3.replacing("_", with: "")
      names[UInt32(digits, radix: match.2 == nil ? 10 : 16) ?? .max] = String(match.1)
    }
    return names
  }()

  @Test("the packets in octets are the golden ones, and there is one of each kind")
  func packets() throws {
    let blocks = ProtocolPage.sections
      .filter { ["Packets in octets", "Test values"].contains($0.heading) }
      .flatMap(\.blocks)
    // The probe is there once more without its checksum, to be sealed.
    let golden = Fixture.all.map(\.bytes) + [Fixture.named("c16").body]
    var kinds: Set<String> = []
    for block in blocks {
      let octets = try #require(Fixture.octets(of: block), "\(block)")
      #expect(golden.contains(octets), "\(block)")
      guard !SealedPacket.isSealed(octets.span.bytes),
        let header = try? PacketHeader(parsing: octets.span.bytes, bodyBytes: octets.count - 4)
      else { continue }
      let isManagement = header.server == .managerGroup || header.client.discriminator == 1
      kinds.insert("\(header.function) \(isManagement ? String(header.mcb.code, radix: 16) : "")")
    }
    let wanted: Set = [
      "request ", "response ", "request 101", "response 0", "request 10f", "request 110",
      "request 120",
    ]
    #expect(wanted.isSubset(of: kinds), "\(kinds.sorted())")
  }

  @Test("the pages name the bounds of the table of claims")
  func boundsOfClaims() {
    let text = { (page: String) in
      ProtocolPage.sections.filter { $0.page == page }.map(\.text).joined(separator: " ")
    }
    #expect(Claim.claimsMax == 8192)
    #expect(text("Security.md").contains("The table of claims has 8,192 places"))
    #expect(text("Naming.md").contains("A table has 8,192 claims"))
  }

  @Test("G12: every permission of a membership has its bit and its name on the page")
  func membershipPermissions() throws {
    let section = try #require(ProtocolPage.section("What a membership lets"))
    let rows = try #require(section.rows(under: ["Bit", "Name", "Lets"]))
    let expected: [(MembershipPermissions, String)] = [
      (.manager, "manager"), (.removableByItself, "removableByItself"),
      (.removableBySamePrincipal, "removableBySamePrincipal"),
      (.removableByOthers, "removableByOthers"), (.addsSamePrincipal, "addsSamePrincipal"),
      (.addsOthers, "addsOthers"), (.removesSamePrincipal, "removesSamePrincipal"),
      (.removesOthers, "removesOthers"),
    ]
    #expect(
      rows.map { Array($0.prefix(2)) }
        == expected.map { [String(format: "%02X", $0.rawValue), $1] })
    #expect(MembershipPermissions.usual.rawValue == 0x4E)
  }

  @Test("a begun transaction is laid out as on the page")
  func begin() throws {
    let state = ProbeEntity.EntityState(
      transaction: TransactionID(0x01A2_B3C4),
      entity: EntityID(kernel: KernelID(0xA1B2_C301), discriminator: 16),
      isAwaitingResponse: true, principal: "ann@kea", startedAt: 0x1797_9CFE_362A_0000)
    let golden = Fixture.named("c44").bytes
    let header = try PacketHeader(parsing: golden.span.bytes, bodyBytes: golden.count - 4)
    let message = Message(header.mcb, segment: Array("ann@kea".utf8))
    #expect(BeginTransaction(state).message == message)
    #expect(try BeginTransaction(parsing: message) == BeginTransaction(state))
  }
}
