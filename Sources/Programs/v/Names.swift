import Glibc
import VAttach
import VProtocol
import VRuntime

/// The name space of V as this host's node sees it, without a mount.
struct Names {
  /// An object that a name leads to.
  struct Found {
    var manager: EntityID
    var descriptor: Descriptor
    /// Its name from the root, as it was followed.
    var path: String

    var name: ContextName { ContextName(descriptor.context) }
  }

  let node: AttachedBackplane
  let client: EntityID
  private let options: CommonOptions
  private let deadline: Time
  /// What is done, for messages: `ls storage`.
  private let what: String

  /// As many as Linux follows.
  private static let linksMax = 40
  static let root = ContextID(rawValue: 1)

  /// Everything together takes `limit` at most, else as long as the command may take.
  init(
    _ node: AttachedBackplane, _ options: CommonOptions, for what: String, limit: TimeSpan? = nil
  ) {
    self.node = node
    self.options = options
    self.what = what
    client = node.makeClient(user: node.user)
    deadline = node.now + (limit ?? .milliseconds(options.timeoutMilliseconds))
  }

  /// Sends an operation and waits for its answer; every other outcome is a `Failure`.
  func send<Op: Operation>(_ operation: Op, to server: EntityID) throws -> (Op.Answer, EntityID) {
    let left = max(deadline - node.now, TimeSpan(nanoseconds: 1))
    let response = node.sendAndWait(
      operation.message, from: client, to: server, options: SendOptions(timeLimit: left))
    switch response.code {
    case .ok:
      guard let value = try? Op.Answer(parsing: response.message) else {
        throw failure("\(ReplyCode.vmtpError)")
      }
      return (value, response.server)
    case .userTimeout:
      throw Failure(
        status: .timeLimit, description: "\(what): no answer within \(options.timeout) s")
    default:
      guard node.isAttached else { throw Failure.nodeLost }
      throw failure("\(Refused(response))")
    }
  }

  /// The code that an operation is answered with, whatever it is.
  func code(of operation: some Operation, to server: EntityID) throws -> ReplyCode {
    let left = max(deadline - node.now, TimeSpan(nanoseconds: 1))
    let response = node.sendAndWait(
      operation.message, from: client, to: server, options: SendOptions(timeLimit: left))
    guard response.code.isOK || node.isAttached else { throw Failure.nodeLost }
    return response.code
  }

  func failure(_ why: String) -> Failure {
    Failure(status: .refused, description: "\(what): \(why)")
  }

  // MARK: finding

  /// The object of a name: of V (`storage/moa`) or below the usual mount point (`/v/storage/moa`).
  ///
  /// Symbolic links are followed, at the end only with `followsLast`.
  func find(_ path: String, followsLast: Bool = true) throws -> Found {
    var rest = try components(path)[...]
    var trail = [try query(ContextName(Self.root), at: directory, "")]
    var links = 0
    while let component = rest.popFirst() {
      if component == ".." {
        if trail.count > 1 { trail.removeLast() }
        continue
      }
      let parent = trail[trail.count - 1]
      let path = parent.path.isEmpty ? component : parent.path + "/" + component
      let found = try query(
        ContextName(parent.descriptor.context, Array(component.utf8)), at: parent.manager, path)
      guard found.descriptor.kind == .symbolicLink, followsLast || !rest.isEmpty else {
        trail.append(found)
        continue
      }
      links += 1
      guard links <= Self.linksMax else { throw failure("\(ReplyCode.tooManyLinks)") }
      let (link, _) = try send(ReadLink(found.name), to: found.manager)
      let target = String(decoding: link.data, as: UTF8.self)
      if target.hasPrefix("/") { trail.removeLast(trail.count - 1) }
      rest = try components(target) + rest
    }
    return trail[trail.count - 1]
  }

  var directory: EntityID {
    EntityID(kernel: node.kernel, discriminator: EntityID.directoryDiscriminator)
  }

  private func query(_ name: ContextName, at manager: EntityID, _ path: String) throws -> Found {
    let (descriptor, by) = try send(QueryObject(name), to: manager)
    return Found(manager: by, descriptor: descriptor, path: path)
  }

  private func components(_ path: String) throws -> [String] {
    var parts = path.split(separator: "/").map(String.init)[...]
    if path.hasPrefix("/") {
      guard parts.first == "v" else {
        throw failure("\(path) is no name of V: those are below /v, or without a slash in front")
      }
      parts = parts.dropFirst()
    }
    return parts.filter { $0 != "." }
  }

  // MARK: using

  /// All octets of an object, or all records of a context.
  func read(_ found: Found, _ mode: OpenMode = .read) throws -> [UInt8] {
    let (opened, manager) = try send(CreateInstance(found.name, mode: mode), to: found.manager)
    defer { _ = try? send(ReleaseInstance(opened.instance), to: manager) }
    var octets: [UInt8] = []
    var position: UInt64 = 0
    while true {
      let (block, _) = try send(
        ReadInstance(opened.instance, position: position, count: Message.segmentBytesMax),
        to: manager)
      guard !block.data.isEmpty else { return octets }
      octets += block.data
      guard mode.contains(.directory) else {
        position += UInt64(block.data.count)
        continue
      }
      for record in try records(block.data) { position = record.nextPosition }
    }
  }

  func records(_ octets: [UInt8]) throws -> [Descriptor] {
    var reader = SegmentReader(octets)
    var records: [Descriptor] = []
    while reader.remaining > 0 {
      guard let record = try? Descriptor(parsing: &reader) else {
        throw failure("\(ReplyCode.vmtpError)")
      }
      records.append(record)
    }
    return records
  }

  /// The names in a shared context; nothing where a manager answers for it.
  func list(_ path: String) throws -> [String] {
    let found = try find(path)
    guard found.descriptor.kind == .sharedContext else { return [] }
    return try records(read(found, [.read, .directory])).map {
      String(decoding: $0.name, as: UTF8.self)
    }
  }

  /// The lines of a text.
  func lines(of path: String) throws -> [Substring] {
    String(decoding: try read(find(path)), as: UTF8.self).split(separator: "\n")
  }

  /// Writes a command.
  func write(_ text: String, to path: String) throws {
    let found = try find(path)
    let (opened, manager) = try send(
      CreateInstance(found.name, mode: [.write, .truncate]), to: found.manager)
    defer { _ = try? send(ReleaseInstance(opened.instance), to: manager) }
    _ = try send(
      WriteInstance(opened.instance, position: 0, data: Array((text + "\n").utf8)), to: manager)
  }
}

/// What a verb found out, for programs and for people.
struct Reply {
  var members: [(String, JSON)]
  var text: String
}

extension CommonOptions {
  /// Attaches, does the work of a verb and prints its reply.
  ///
  /// With `--json` a refusal is printed as well as thrown.
  func answer(_ what: String, _ work: (Names) throws -> Reply) throws {
    do {
      let node = try attach()
      defer { node.close() }
      let reply = try work(Names(node, self, for: what))
      guard !json else { return print(reply.members, error: .null) }
      // Names are whole where a program reads them, as those of ls are.
      if !reply.text.isEmpty { say(isatty(1) == 1 ? Text.harmless(reply.text) : reply.text) }
    } catch let failure as Failure {
      if json { print([], error: .string(failure.description)) }
      throw failure
    }
  }

  private func print(_ members: [(String, JSON)], error: JSON) {
    say(JSON.object([("schema", .integer(1))] + members + [("error", error)]).text)
  }
}
