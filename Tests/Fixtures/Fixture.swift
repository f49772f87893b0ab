import Foundation

/// One golden packet: a file of `vmtp`, hexadecimal by hand, with a comment line.
public struct Fixture: Sendable, CustomStringConvertible {
  public let name: String
  public let bytes: [UInt8]

  public var description: String { name }
  /// `v`: golden vectors of domain 1, `c`: packets of the cluster domain, `s`: sealed ones.
  public var isSealed: Bool { name.hasPrefix("s") }
  /// The packet without its checksum or its sealed trailer.
  public var body: [UInt8] { Array(bytes.dropLast(isSealed ? 28 : 4)) }
  /// Octets 32 to the end of a clear packet's body: the message and its padded segment.
  public var message: [UInt8] { Array(body.dropFirst(32)) }

  public static let all: [Fixture] = load()
  public static let clear = all.filter { !$0.isSealed }
  public static let sealed = all.filter(\.isSealed)

  /// The fixture whose name is `prefix` up to its first hyphen.
  public static func named(_ prefix: String) -> Fixture {
    guard let fixture = all.first(where: { $0.name.hasPrefix(prefix + "-") }) else {
      preconditionFailure("there is no fixture \(prefix)")
    }
    return fixture
  }

  private static func load(file: String = #filePath) -> [Fixture] {
    let folder = URL(fileURLWithPath: file).deletingLastPathComponent().appending(path: "vmtp")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    let fixtures = names.filter { $0.hasSuffix(".hex") }.sorted().map { name -> Fixture in
      let text = try? String(contentsOf: folder.appending(path: name), encoding: .utf8)
      guard let text, let bytes = octets(of: text) else {
        preconditionFailure("\(name) is not hexadecimal")
      }
      return Fixture(name: String(name.dropLast(4)), bytes: bytes)
    }
    precondition(!fixtures.isEmpty, "the golden packets were not found")
    return fixtures
  }

  /// The octets of hexadecimal text; nil if it is malformed.
  ///
  /// Lines that start with # are skipped.
  public static func octets(of text: String) -> [UInt8]? {
    let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
    let digits = lines.joined().filter { !$0.isWhitespace }.map(\.hexDigitValue)
    guard digits.count % 2 == 0 else { return nil }
    var octets: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = digits[index], let low = digits[index + 1] else { return nil }
      octets.append(UInt8(high << 4 | low))
    }
    return octets
  }
}
