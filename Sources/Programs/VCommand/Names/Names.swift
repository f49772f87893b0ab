package import VAttach
package import VClient
package import VProtocol
import VRuntime

/// The name space of V as a verb sees it, without a mount: each refusal is a `Failure` that says
/// what was tried, and all together takes a limited time.
package struct Names {
  /// An object that a name leads to.
  package struct Found {
    package var id: ObjectID
    package var manager: EntityID
    package var descriptor: Descriptor
    /// Its name from the root.
    package var path: String
  }

  package let session: Session
  private let options: CommonOptions
  private let deadline: Time
  /// What is done, for messages: `ls storage`.
  private let what: String

  /// Everything together takes `limit` at most, else as long as the command may take.
  package init(
    _ session: Session, _ options: CommonOptions, for what: String, limit: TimeSpan? = nil
  ) {
    self.session = session
    self.options = options
    self.what = what
    deadline = session.node.now + (limit ?? .milliseconds(options.timeoutMilliseconds))
  }

  package var node: AttachedBackplane { session.node }

  private var left: TimeSpan { max(deadline - node.now, TimeSpan(nanoseconds: 1)) }

  package func failure(_ why: String) -> Failure {
    Failure(status: .refused, description: "\(what): \(why)")
  }

  /// Does something with the time that is left; a refusal is a `Failure`.
  package func trying<Value>(
    _ body: (Session, TimeSpan) throws(Refusal) -> Value
  ) throws(Failure) -> Value {
    do throws(Refusal) {
      return try body(session, left)
    } catch {
      if error.code == .userTimeout {
        throw Failure(
          status: .timeLimit, description: "\(what): no answer within \(options.timeout) s")
      }
      guard node.isAttached else { throw Failure.nodeLost }
      throw failure("\(error)")
    }
  }

  /// Sends an operation to a server that is known.
  package func send<Op: Operation>(
    _ operation: Op, to server: EntityID
  ) throws(Failure) -> Op.Answer {
    try trying { session, left throws(Refusal) in
      try session.send(operation, to: server, limit: left)
    }
  }

  /// Asks about an object, or about a name below it.
  package func ask<Op: Operation>(
    about found: Found, _ name: String = "", make: @escaping @Sendable (Client.Target) -> Op
  ) throws(Failure) -> Op.Answer {
    try trying { session, left throws(Refusal) in
      try session.wait(limit: left) { call, done in
        call.ask(about: found.id, Array(name.utf8), make, then: done)
      }
    }
  }

  // MARK: finding

  /// The object of a name: of V (`storage/moa`) or below the usual mount point (`/v/storage/moa`).
  ///
  /// Symbolic links are followed, at the end only with `followsLast`.
  package func find(_ path: String, followsLast: Bool = true) throws(Failure) -> Found {
    let name = try name(of: path)
    let id = try trying { session, left throws(Refusal) in
      try session.wait(limit: left) { call, done in
        call.walk(name, followsLast: followsLast, then: done)
      }
    }
    // As it is now, not as it was last seen.
    let descriptor = try trying { session, left throws(Refusal) in
      try session.wait(limit: left) { call, done in
        call.ask(about: id) {
          QueryObject($0.name)
        } then: {
          done($0)
        }
      }
    }
    return Found(
      id: id, manager: session.client.objects[id]?.object.manager ?? .none,
      descriptor: descriptor,
      path: String(decoding: session.client.objects.fullName(of: id) ?? [], as: UTF8.self))
  }

  /// A name of V from the root, for one of V or a path below the usual mount point.
  package func name(of path: String) throws(Failure) -> [UInt8] {
    var parts = path.split(separator: "/")
    if path.hasPrefix("/"), parts.isEmpty || parts.removeFirst() != "v" {
      throw failure("\(path) is no name of V: those are below /v, or without a slash in front")
    }
    return Array(parts.joined(separator: "/").utf8)
  }

  // MARK: using

  /// Opens an object, does something with it and closes it.
  package func using<Value>(
    _ found: Found, _ mode: OpenMode, _ body: (OpenFile, TimeSpan) throws(Refusal) -> Value
  ) throws(Failure) -> Value {
    try trying { session, left throws(Refusal) in
      let opened = try session.wait(limit: left) { [client = session.client] opened in
        client.close(opened.id)
      } _: { call, done in
        call.open(found.id, mode, then: done)
      }
      let file = OpenFile(session, opened.id)
      defer { file.close() }
      return try body(file, self.left)
    }
  }

  /// What is in a context, by name.
  package func records(of found: Found) throws(Failure) -> [Descriptor] {
    try using(found, [.read, .directory]) { file, left throws(Refusal) in
      try file.records(limit: left)
    }
  }

  /// The names in a shared context; nothing where a manager answers for it.
  package func list(_ path: String) throws(Failure) -> [String] {
    let found = try find(path)
    guard found.descriptor.kind == .sharedContext else { return [] }
    return try records(of: found).map { String(decoding: $0.name, as: UTF8.self) }
  }

  /// The lines of a text.
  package func lines(of path: String) throws(Failure) -> [Substring] {
    let octets = try using(find(path), .read) { file, left throws(Refusal) in
      try file.readAll(limit: left)
    }
    return String(decoding: octets, as: UTF8.self).split(separator: "\n")
  }

  /// Writes a command.
  package func write(_ text: String, to path: String) throws(Failure) {
    try using(find(path), [.write, .truncate]) { file, left throws(Refusal) in
      try file.write(Array((text + "\n").utf8), limit: left)
    }
  }

  /// Writes a line and reads what is answered, in one instance.
  package func exchange(_ text: String, with path: String) throws(Failure) -> String {
    let octets = try using(find(path), [.read, .write]) { file, left throws(Refusal) in
      try file.write(Array((text + "\n").utf8), limit: left)
      return try file.readAll(limit: left)
    }
    return String(decoding: octets, as: UTF8.self)
  }
}
