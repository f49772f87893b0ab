import VAttach
import VProtocol
import VRuntime

/// Why a manager refused a request: its code, and its words if it had some.
struct Refused: Error, CustomStringConvertible {
  var code: ReplyCode
  var words = ""

  init(_ code: ReplyCode) { self.code = code }

  init(_ refusal: Refusal) {
    code = refusal.code
    words = refusal.words
  }

  init(_ response: Response) {
    code = response.code
    words = String(decoding: response.message.segment, as: UTF8.self)
  }

  var description: String { words.isEmpty ? "\(code)" : words }
}

/// Waits for the answer of a conversation.
enum Answered {
  static func value<Value: Sendable>(
    _ ask: (@escaping @Sendable (Result<Value, Refusal>) -> Void) -> Void
  ) throws(Refused) -> Value {
    let mailbox = Mailbox<Result<Value, Refusal>>()
    ask { mailbox.put($0) }
    switch mailbox.wait() {
    case .success(let value): return value
    case .failure(let refusal): throw Refused(refusal)
    }
  }

  static func done(_ ask: (@escaping @Sendable (Refusal?) -> Void) -> Void) throws(Refused) {
    let mailbox = Mailbox<Refusal?>()
    ask { mailbox.put($0) }
    if let refusal = mailbox.wait() { throw Refused(refusal) }
  }
}

/// A client entity of this process: it has one transaction at a time, and owns what it opens.
final class Conversation: Sendable {
  let node: AttachedBackplane
  private let client: EntityID

  init(_ node: AttachedBackplane) {
    self.node = node
    client = node.makeClient(user: node.user)
  }

  deinit { node.retire(client) }

  /// Waits as long as the server's host lives, or up to a limit.
  func send<Op: Operation>(
    _ operation: Op, to server: EntityID, limit: TimeSpan? = nil
  ) throws(Refused) -> (answer: Op.Answer, by: EntityID) {
    let response = node.sendAndWait(
      operation.message, from: client, to: server, options: SendOptions(timeLimit: limit))
    guard response.code.isOK else { throw Refused(response) }
    guard let answer = try? Op.Answer(parsing: response.message) else {
      throw Refused(.vmtpError)
    }
    return (answer, response.server)
  }
}

/// An open object of V.
///
/// One message opens it by its name from the root, on whatever host it is: the directory forwards
/// the message.
final class OpenObject: Sendable {
  private let conversation: Conversation
  private let manager: EntityID
  private let instance: InstanceID

  init(
    _ path: String, _ mode: OpenMode, _ conversation: Conversation, limit: TimeSpan? = nil
  ) throws(Refused) {
    self.conversation = conversation
    let kernel = conversation.node.kernel
    let (opened, by) = try conversation.send(
      CreateInstance(ContextName(Names.root, Array(path.utf8)), mode: mode),
      to: EntityID(kernel: kernel, discriminator: EntityID.directoryDiscriminator), limit: limit)
    instance = opened.instance
    manager = by
  }

  /// Up to 16 KB; a stream has no positions, and answers when there are octets.
  func read(at position: UInt64 = 0, limit: TimeSpan? = nil) throws(Refused) -> [UInt8] {
    try conversation.send(
      ReadInstance(instance, position: position, count: Message.segmentBytesMax), to: manager,
      limit: limit
    ).answer.data
  }

  /// Everything from its start to its end.
  func readAll(limit: TimeSpan? = nil) throws(Refused) -> [UInt8] {
    var octets: [UInt8] = []
    while true {
      let block = try read(at: UInt64(octets.count), limit: limit)
      if block.isEmpty { return octets }
      octets += block
    }
  }

  /// The records of a context that is open as a directory.
  func records(limit: TimeSpan? = nil) throws(Refused) -> [Descriptor] {
    var records: [Descriptor] = []
    while true {
      let block = try read(at: records.last?.nextPosition ?? 0, limit: limit)
      if block.isEmpty { return records }
      var reader = SegmentReader(block)
      while reader.remaining > 0 {
        guard let record = try? Descriptor(parsing: &reader) else { throw Refused(.vmtpError) }
        records.append(record)
      }
    }
  }

  /// In pieces that fit a message.
  func write(_ octets: [UInt8], limit: TimeSpan? = nil) throws(Refused) {
    var rest = octets[...]
    repeat {
      let piece = Array(rest.prefix(Message.segmentBytesMax))
      _ = try conversation.send(
        WriteInstance(
          instance, position: UInt64(octets.count - rest.count), data: piece), to: manager,
        limit: limit)
      rest = rest.dropFirst(piece.count)
    } while !rest.isEmpty
  }

  func release() {
    _ = try? conversation.send(ReleaseInstance(instance), to: manager, limit: .seconds(1))
  }
}
