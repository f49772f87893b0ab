import Testing
import VClient
import VDirectory
import VNode
import VProtocol
import VRuntime

/// A manager of one context, whose records have the positions that a test gives them.
private final class Lister: Sendable {
  /// From the position that is read to the positions of the records of that block.
  let blocks: @Sendable (UInt64) -> [UInt64]
  let reads = Shared<[UInt64]>([])

  init(
    on host: ClaimingHost, _ simulator: Simulator,
    _ blocks: @escaping @Sendable (UInt64) -> [UInt64]
  ) {
    self.blocks = blocks
    let node = host.node
    let manager = node.makeServer(knowsPrincipals: true) { [self] request in
      switch request.message.mcb.code {
      case QueryObject.code: node.reply(Self.root, to: request)
      case CreateInstance.code:
        node.reply(
          CreateInstance.Answer(
            instance: InstanceID(rawValue: 7), attributes: [.readable], isNew: false,
            descriptor: Self.root), to: request)
      case ReadInstance.code:
        node.serve(ReadInstance.self, request) { operation in
          reads.value.append(operation.position)
          node.reply(ReadInstance.Answer(data: block(operation.position)), to: request)
        }
      default: node.refuse(.ok, request)
      }
    }
    let claim = ClaimName(
      prefix: Array("ring".utf8), context: ContextID(rawValue: 5), manager: manager)
    #expect(host.code(of: claim, simulator) == .ok)
  }

  private static var root: Descriptor {
    var root = Descriptor(
      kind: .context, identity: Descriptor.Identity(device: 1, inode: 1, generation: 1))
    root.context = ContextID(rawValue: 5)
    return root
  }

  private func block(_ position: UInt64) -> [UInt8] {
    var writer = SegmentWriter()
    for next in blocks(position) {
      var record = Descriptor(
        kind: .file, identity: Descriptor.Identity(device: 1, inode: next, generation: 1))
      record.name = Array("f\(next)".utf8)
      record.nextPosition = next
      record.emit(into: &writer)
    }
    return writer.bytes
  }
}

@Suite("Listings whose positions do not advance, in the simulator")
struct ListingTests {
  /// Reads a listing to its end, as every client does; the refusal, and the records read.
  private func list(
    _ blocks: @escaping @Sendable (UInt64) -> [UInt64],
    next: ([Descriptor]) -> UInt64? = { $0.last?.nextPosition }
  ) throws -> (refusal: ReplyCode?, reads: Int) {
    let simulator = Simulator(seed: 1)
    let host = try ClaimingHost("kea", in: simulator)
    simulator.run(for: .seconds(1))
    let lister = Lister(on: host, simulator, blocks)
    let program = ClientHost(host, simulator)
    let open = try program.open(program.find("ring"), [.read, .directory])
    var position: UInt64 = 0
    // More blocks than any of these listings has.
    for _ in 0..<200 {
      let answer: Result<[Descriptor], ClientHost.Refused>? = program.outcome {
        $0.readRecords(open, from: position, then: $1)
      }
      switch answer {
      case .success(let records):
        guard let next = next(records) else { return (nil, lister.reads.value.count) }
        position = next
      case .failure(let refusal): return (refusal.code, lister.reads.value.count)
      case nil: return (.userTimeout, 0)
      }
    }
    return (nil, lister.reads.value.count)
  }

  @Test(
    "end with an error, whatever the circle is", arguments: 0...6 as ClosedRange<UInt64>,
    1...6 as ClosedRange<UInt64>)
  func circles(front: UInt64, circle: UInt64) throws {
    // Blocks of two records lead through `front` blocks into a circle of `circle` blocks.
    let (refusal, reads) = try list { position in
      let block = position / 2
      let next = block + 1 < front + circle ? block + 1 : front
      return [position + 1, next * 2]
    }
    #expect(refusal == .deviceError)
    #expect(reads <= 4 * Int(front + circle) + 2)
  }

  @Test("a record that leads back within its block ends it too, for a reader with little room")
  func withinBlock() throws {
    let (refusal, reads) = try list(
      { $0 < 4 ? [4, 4, 8] : [4, 4, 12] }, next: { $0.first?.nextPosition })
    #expect(refusal == .deviceError && reads <= 4)
  }

  @Test("positions in any order are no circle, and a reader may go back by itself")
  func sound() throws {
    let order: [UInt64] = [0, 900, 17, 1 << 63, 3, 44, 2, 800, .max, 5]
    let (refusal, reads) = try list { position in
      guard let index = order.firstIndex(of: position) else { return [] }
      return Array(order[min(index + 1, order.count)..<min(index + 4, order.count)])
    }
    #expect(refusal == nil && reads == 4)
    var steps = 0
    let again = try list { position in
      position < 40 ? [position + 1, position + 2] : []
    } next: { records in
      steps += 1
      guard steps < 100 else { return nil }
      // Every fifth block it starts anew, as rewinddir does, or reads some of the last ones again.
      return steps % 5 == 0 ? UInt64(steps % 3) : records.first?.nextPosition
    }
    #expect(again.refusal == nil && again.reads == 100)
  }
}
