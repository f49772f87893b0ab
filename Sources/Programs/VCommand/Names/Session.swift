package import VAttach
package import VClient
package import VProtocol
package import VRuntime

/// The name space of V for one command, with blocking calls.
///
/// It may be used by several threads at once, but not by the thread of the node's socket, which
/// would wait for itself. A limit ends a call with the code `userTimeout`; without one it lasts as
/// long as the host lives that is asked.
package final class Session: Sendable {
  package let node: AttachedBackplane
  package let client: Client
  package let user: ClientUser

  package init(_ node: AttachedBackplane) {
    self.node = node
    user = ClientUser(own: node.user)
    client = Client(node, NameSpace(of: node.kernel), as: user)
  }

  /// What it has open is closed.
  deinit { client.end() }

  /// The directory of this host.
  package var directory: EntityID { NameSpace(of: node.kernel).directory }

  /// The client entity that sends where one call follows another.
  package var entity: EntityID { client.nextEntity(of: user) }

  /// Makes a call and waits for what it comes to; what comes too late is given to `undo`.
  package func wait<Value: Sendable>(
    limit: TimeSpan? = nil, undo: (@Sendable (Value) -> Void)? = nil,
    _ body: (Call, @escaping @Sendable (Answer<Value>) -> Void) -> Void
  ) throws(Refusal) -> Value {
    precondition(!node.isLoop, "the loop's thread cannot wait for itself")
    let mailbox = Mailbox<Answer<Value>>()
    client.start(as: user, limit: limit, undo: undo, body) { mailbox.put($0) }
    switch mailbox.wait() {
    case .done(let value, _): return value
    case .refused(let refusal): throw refusal
    }
  }

  /// Sends an operation to a server that is known.
  package func send<Op: Operation>(
    _ operation: Op, to server: EntityID, limit: TimeSpan? = nil
  ) throws(Refusal) -> Op.Answer {
    try wait(limit: limit) { call, done in call.send(operation, to: server, then: done) }
  }

  /// Opens an object by its name from the root, by one message: the directory hands it on.
  ///
  /// No symbolic links are followed.
  package func open(
    _ path: String, _ mode: OpenMode, limit: TimeSpan? = nil
  ) throws(Refusal) -> OpenFile {
    let id: OpenID = try wait(limit: limit) { [client] id in
      client.close(id)
    } _: { call, done in
      call.open(path: Array(path.utf8), mode, then: done)
    }
    return OpenFile(self, id)
  }
}

/// What a session has open.
package final class OpenFile: Sendable {
  private let session: Session
  private let id: OpenID

  package init(_ session: Session, _ id: OpenID) {
    self.session = session
    self.id = id
  }

  /// Up to 16 KB, none at the end; a stream has no positions, and answers when there is something.
  package func read(at position: UInt64 = 0, limit: TimeSpan? = nil) throws(Refusal) -> [UInt8] {
    let pieces = try session.wait(limit: limit) { call, done in
      call.read(id, count: Message.segmentBytesMax, at: position, then: done)
    }
    return pieces.count == 1 ? pieces[0] : pieces.flatMap { $0 }
  }

  /// What is left of a limit for all parts of something together.
  private func left(of limit: TimeSpan?) -> () -> TimeSpan? {
    let end = limit.map { session.node.now + $0 }
    return { [session] in
      end.map { max($0 - session.node.now, TimeSpan(nanoseconds: 1)) }
    }
  }

  /// Everything from its start to its end.
  package func readAll(limit: TimeSpan? = nil) throws(Refusal) -> [UInt8] {
    let left = left(of: limit)
    var octets: [UInt8] = []
    while true {
      let block = try read(at: UInt64(octets.count), limit: left())
      if block.isEmpty { return octets }
      octets += block
    }
  }

  /// The records of a context that is open as a directory.
  package func records(limit: TimeSpan? = nil) throws(Refusal) -> [Descriptor] {
    let left = left(of: limit)
    var records: [Descriptor] = []
    while true {
      let next = records.last?.nextPosition ?? 0
      let more = try session.wait(limit: left()) { call, done in
        call.readRecords(id, from: next, then: done)
      }
      if more.isEmpty { return records }
      records += more
    }
  }

  /// Writes all of it, from its start.
  package func write(_ octets: [UInt8], limit: TimeSpan? = nil) throws(Refusal) {
    let left = left(of: limit)
    var count = 0
    while count < octets.count {
      let rest = Array(octets[count...])
      let written = try session.wait(limit: left()) { call, done in
        call.write(id, rest.span.bytes, at: UInt64(count), dropsPrivileges: false, then: done)
      }
      guard written > 0 else { throw Refusal(.deviceError, "nothing was written") }
      count += written
    }
  }

  /// Closes it; nothing may be asked of it afterwards.
  package func close() { session.client.close(id) }
}

/// Waits for what a conversation answers.
package enum Answered {
  package static func value<Value: Sendable>(
    _ ask: (@escaping @Sendable (Result<Value, Refusal>) -> Void) -> Void
  ) throws(Refusal) -> Value {
    let mailbox = Mailbox<Result<Value, Refusal>>()
    ask { mailbox.put($0) }
    return try mailbox.wait().get()
  }

  package static func done(
    _ ask: (@escaping @Sendable (Refusal?) -> Void) -> Void
  ) throws(Refusal) {
    let mailbox = Mailbox<Refusal?>()
    ask { mailbox.put($0) }
    if let refusal = mailbox.wait() { throw refusal }
  }
}
