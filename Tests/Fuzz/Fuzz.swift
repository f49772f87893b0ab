import Fixtures
import Foundation
import VProtocol

/// Feeds every parser of VProtocol with mutated packets and messages.
///
/// Usage: `vfuzz --seconds N [--seed S]`. Ends with status 1 and the input in hexadecimal where
/// a parser traps, or where what it parsed does not survive being emitted and parsed again.
@main
enum Fuzz {
  static func main() {
    let (seconds, seed) = arguments()
    print("vfuzz: seed \(seed), \(seconds) s")
    installTrapHandler()
    var mutator = Mutator(seed: seed, corpus: corpus())
    var tallies = Parser.all.map { _ in (parsed: 0, refused: 0) }
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    // The corpus itself first, so that each parser is known to accept something.
    var unchanged = mutator.corpus
    repeat {
      let input = unchanged.popLast() ?? mutator.next()
      for (index, parser) in Parser.all.enumerated() {
        currentInput.set(input, parser: parser.name)
        switch parser.run(input) {
        case .parsed: tallies[index].parsed += 1
        case .refused: tallies[index].refused += 1
        case .broken: fail("\(parser.name): not the same after emitting", input)
        }
      }
    } while clock.now < end || !unchanged.isEmpty
    for (parser, tally) in zip(Parser.all, tallies) {
      print("\(parser.name): \(tally.parsed) parsed, \(tally.refused) refused")
      if tally.parsed == 0 { fail("\(parser.name): nothing parsed", []) }
    }
    print("vfuzz: \(mutator.count) inputs, seed \(seed)")
  }

  private static func fail(_ what: String, _ input: [UInt8]) -> Never {
    print("FAILED: \(what)\n\(input.map { String(format: "%02x", $0) }.joined())")
    exit(1)
  }

  private static func arguments() -> (seconds: Int, seed: UInt64) {
    let words = CommandLine.arguments
    func value(of option: String) -> String? {
      words.firstIndex(of: option).flatMap { $0 + 1 < words.count ? words[$0 + 1] : nil }
    }
    let seed = value(of: "--seed") ?? "\(UInt32.random(in: 0...999_999))"
    guard let seconds = value(of: "--seconds").flatMap({ Int($0) }), let seed = UInt64(seed) else {
      print("usage: vfuzz --seconds N [--seed S]")
      exit(2)
    }
    return (seconds, seed)
  }

  /// Whole packets, packets without trailer, messages, segments, and what no fixture has.
  private static func corpus() -> [[UInt8]] {
    var modification = Modification()
    modification.owner = "ann"
    modification.modified = .now
    let claim = Claim(
      prefix: Array("desk/fs".utf8), manager: .managerGroup, context: .none, host: "desk",
      clock: 1, state: .present)
    let messages: [Message] = [
      ModifyInstance(InstanceID(rawValue: 1), modification).message,
      SpreadClaims([claim, claim], wantsAnswer: true).message,
      ClaimName(prefix: claim.prefix, context: .none, manager: .managerGroup).message,
      FindNode.Answer(server: .managerGroup, host: "desk").message,
      MeasureSends(target: .host("desk"), count: 3, limitMilliseconds: 9).message,
      QueryStore.Answer().message,
    ]
    let texts = ["BE-25593-36.8.0.49", "XUGA-268435455-255.255.255.255"].map { Array($0.utf8) }
    return texts + messages.map(Parser.bytes(of:)) + messages.map(\.segment)
      + Fixture.all.flatMap { [$0.bytes, $0.body, $0.message, Array($0.message.dropFirst(32))] }
  }
}

/// Makes inputs out of the corpus by a few blind changes each.
struct Mutator {
  let corpus: [[UInt8]]
  private(set) var count = 0
  private var generator: SeededGenerator
  private static let edges: [UInt8] = [0, 1, 2, 7, 8, 0x10, 0x2D, 0x2E, 0x2F, 0x7F, 0x80, 0xFE, 0xFF]

  init(seed: UInt64, corpus: [[UInt8]]) {
    self.corpus = corpus
    generator = SeededGenerator(state: seed)
  }

  mutating func next() -> [UInt8] {
    count += 1
    var bytes = pick(corpus)
    for _ in 0..<(1 + below(6)) { change(&bytes) }
    return Array(bytes.prefix(16_384 + 92))
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    let place = below(bytes.count + 1)
    switch below(8) {
    case 0: bytes.removeSubrange(place...)
    case 1: bytes.insert(contentsOf: (0..<below(40)).map { _ in Self.edges[below(13)] }, at: place)
    case 2:
      let other = pick(corpus)
      bytes.replaceSubrange(place..., with: other.dropFirst(below(other.count + 1)))
    case 3: bytes += [UInt8](repeating: pick(Self.edges), count: below(2000))
    case 4: bytes.removeSubrange(place..<min(bytes.count, place + below(8)))
    case 5 where place < bytes.count: bytes[place] = pick(Self.edges)
    case 6 where place + 4 <= bytes.count:
      let value = pick([0, 1, 0xFFFF, 0x8000_0000, .max] as [UInt32]) &+ UInt32(below(3)) &- 1
      for index in 0..<4 {
        bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index))
      }
    case _ where place < bytes.count: bytes[place] ^= 1 << UInt8(below(8))
    default: bytes.append(UInt8(below(256)))
    }
  }

  private mutating func below(_ limit: Int) -> Int { Int(generator.next() % UInt64(limit)) }
  private mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }
}

/// Chance from a seed.
struct SeededGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
