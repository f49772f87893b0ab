import Glibc
import VAttach
import VCommand
import VProtocol
import VRuntime

/// A file of 64 KB in the storage of a host, open, by operations of V alone.
final class BenchFile {
  let client: EntityID
  private let node: AttachedBackplane
  private let host: String
  private let manager: EntityID
  private let name: ContextName
  private let instance: InstanceID

  private static let octets = 65_536

  init(_ options: CommonOptions, _ node: AttachedBackplane, _ host: String) throws {
    self.node = node
    self.host = host
    client = node.makeClient(user: node.user)
    let prefix = Array("storage/\(host)".utf8)
    let query = node.sendAndWait(
      QueryName(ContextName(.none, prefix)), from: client, to: .nameHandlingGroup,
      options: SendOptions(timeLimit: .seconds(1)))
    guard case .done(let found, _) = query, found.kind == .context else {
      throw Failure(
        status: .refused, description: "bench uio: nobody serves storage/\(host)")
    }
    manager = found.manager
    let leaf = Array(".v-bench-\(getpid())".utf8)
    name = ContextName(found.context, leaf)
    let opened = node.sendAndWait(
      CreateInstance(name, mode: [.read, .write, .create, .truncate], permissions: 0o600),
      from: client, to: manager)
    switch opened {
    case .done(let answer, _): instance = answer.instance
    case .refused(let refusal):
      throw Failure(
        status: .refused, description: "bench uio: a file in storage/\(host): \(refusal)")
    }
    let block = [UInt8](repeating: 0x56, count: Message.segmentBytesMax)
    for position in stride(from: 0, to: Self.octets, by: block.count) {
      let written = node.sendAndWait(
        WriteInstance(instance, position: UInt64(position), data: block), from: client,
        to: manager)
      if case .refused(let refusal) = written { throw failure(refusal) }
    }
  }

  /// The block of that number, beginning anew behind the end.
  func read(_ number: Int, _ octets: Int) throws -> [UInt8] {
    let position = UInt64(number * octets % Self.octets)
    let answer = node.sendAndWait(
      ReadInstance(instance, position: position, count: octets), from: client, to: manager)
    switch answer {
    case .done(let found, _) where found.data.count == octets: return found.data
    case .done: throw failure(Refusal(.endOfFile))
    case .refused(let refusal): throw failure(refusal)
    }
  }

  func failure(_ refusal: Refusal) -> Failure {
    Failure(status: .refused, description: "bench uio: storage/\(host): \(refusal)")
  }

  func remove() {
    _ = node.sendAndWait(ReleaseInstance(instance), from: client, to: manager)
    _ = node.sendAndWait(RemoveName(name, isContext: false), from: client, to: manager)
  }
}
