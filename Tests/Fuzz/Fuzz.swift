import Fixtures
import Foundation
import VProtocol

/// Feeds every parser, and whole nodes, with mutated packets, messages and frames.
///
/// Usage: `vfuzz --seconds N [--seed S]`. Ends with status 1 and the inputs in hexadecimal if a
/// parser traps, or if a parsed value changes when it is emitted and parsed again.
///
/// A node takes in several inputs, because making one costs more than most inputs do. So what it
/// does depends on at most `inputsMax - 1` inputs before; all of them are reported, and do the
/// same to a new node.
#if !V_LIBFUZZER
  @main
#endif
enum Fuzz {
  /// The parser to report at a trap; there is one thread, so it needs no lock.
  nonisolated(unsafe) private static var current = ""
  /// The inputs since the nodes were made.
  nonisolated(unsafe) private static var inputs: [[UInt8]] = []

  /// Then a node costs little by the input, and people can still read the inputs.
  static let inputsMax = 64

  /// Runs one input; the name of the parser that broke it, if one did.
  ///
  /// `note` is called before, with whether the nodes are new ones.
  static func take(
    _ bytes: [UInt8], by parsers: [Parser], note: (_ isFirst: Bool) -> Void = { _ in },
    count: (_ parser: Int) -> Void = { _ in }
  ) -> String? {
    if inputs.count == inputsMax {
      inputs.removeAll(keepingCapacity: true)
      NodeUnderTest.renew()
    }
    note(inputs.isEmpty)
    inputs.append(bytes)
    let input = Parser.Input(bytes)
    for (index, parser) in parsers.enumerated() {
      current = parser.name
      switch parser.run(input) {
      case .parsed: count(index)
      case .refused: break
      case .broken: return parser.name
      }
    }
    return nil
  }

  static func main() {
    let (seconds, seed) = arguments()
    print("vfuzz --seconds \(seconds) --seed \(seed)")
    // A trap of Swift is an illegal instruction or a breakpoint.
    for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
      signal(number) { _ in Fuzz.fail("a trap in \(Fuzz.current)") }
    }
    let corpus = corpus()
    var mutator = Mutator(corpus: corpus, state: seed)
    var parsed = Parser.all.map { _ in 0 }
    var count = 0
    let end = ContinuousClock.now + .seconds(seconds)
    // The corpus itself first, so that each parser is known to accept something.
    while count < corpus.count || ContinuousClock.now < end {
      let input = count < corpus.count ? corpus[count] : mutator.next()
      count += 1
      let broken = take(input, by: Parser.all, count: { parsed[$0] += 1 })
      if let broken { fail("\(broken): not the same after emitting") }
    }
    for (parser, parsed) in zip(Parser.all, parsed) {
      print("\(parser.name): \(parsed) parsed, \(count - parsed) refused")
      if parsed == 0 {
        inputs = []
        fail("\(parser.name): nothing parsed")
      }
    }
    print("\(count) inputs")
  }

  private static func fail(_ what: String) -> Never {
    print("FAILED: \(what); the inputs since the nodes were made, the last one last:")
    for input in inputs { print(input.map { String(format: "%02x", $0) }.joined()) }
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
  static func corpus() -> [[UInt8]] {
    var modification = Modification()
    modification.owner = "ann"
    let claim = Claim(
      prefix: Array("desk/fs".utf8), manager: EntityID(kernel: KernelID(1), discriminator: 9),
      context: .none, host: "desk", clock: 1, state: .present)
    let messages: [Message] = [
      ModifyInstance(InstanceID(rawValue: 1), modification).message,
      SpreadClaims([claim, claim], wantsAnswer: true).message,
      SpreadDigest(claim.manager, ClaimDigest(), [claim]).message,
      QueryClaims.Answer(next: 1, claims: [claim, claim]).message,
      ClaimName(prefix: claim.prefix, context: .none, manager: .managerGroup).message,
      FindNode.Answer(server: .managerGroup, host: "desk", wallClock: 1).message,
      MeasureSends(target: .host("desk"), count: 3, limitMilliseconds: 9).message,
      QueryStore.Answer().message,
      SelectHost(.guest, excluded: ["kea"]).message,
      ControlTeam(.managerGroup, "suspend").message,
    ]
    let texts = [
      "BE-25593-36.8.0.49", "XUGA-268435455-255.255.255.255", "sort -u big.txt\n", "ls\0-l\0",
      "length: 90\ndir: /v\nenv: A=\\\\ \\n\nclass: guest\nattached: yes\n"
        + "terminal: 24 80\ngroup: g\n\nmake\0-j8\0",
      "suspend\n", "kill SIGTERM\n", "class guest\n", "size 24 80\n", "join a\n",
    ].map { Array($0.utf8) }
    return texts + Parser.attachSamples + Parser.keeperSamples + Parser.packetSamples
      + Parser.sealedSamples + Parser.recordingSamples + messages.map(Parser.bytes(of:))
      + messages.map(\.segment)
      + Fixture.all.flatMap { [$0.bytes, $0.body, $0.message, Array($0.message.dropFirst(32))] }
  }
}

/// Makes inputs from the corpus by a few random changes each, from a seed.
struct Mutator {
  let corpus: [[UInt8]]
  var state: UInt64
  private static let edges: [UInt8] = [0, 1, 2, 7, 8, 0x10, 0x2D, 0x2E, 0x2F, 0x7F, 0x80, 0xFF]

  mutating func next() -> [UInt8] {
    var bytes = pick(corpus)
    for _ in 0..<(1 + below(6)) { change(&bytes) }
    return Array(bytes.prefix(Message.segmentBytesMax + 92))
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    let place = below(bytes.count + 1)
    let end = min(bytes.count, place + below(9))
    switch below(7) {
    case 0: bytes.removeSubrange(place...)
    case 1: bytes.removeSubrange(place..<end)
    case 2: bytes.insert(contentsOf: (0..<below(40)).map { _ in pick(Self.edges) }, at: place)
    case 3: bytes += [UInt8](repeating: pick(Self.edges), count: below(2000))
    case 4:
      let other = pick(corpus)
      bytes.replaceSubrange(place..., with: other.dropFirst(below(other.count + 1)))
    case 5: for index in place..<end { bytes[index] = pick(Self.edges) }
    default: if place < bytes.count { bytes[place] ^= 1 << UInt8(below(8)) }
    }
  }

  private mutating func pick<T>(_ list: [T]) -> T { list[below(list.count)] }

  private mutating func below(_ limit: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((mixed ^ (mixed >> 31)) % UInt64(limit))
  }
}
