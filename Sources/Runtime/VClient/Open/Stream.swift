public import VProtocol
public import VRuntime

extension Client {
  /// Opens the object of a name from the root; to be closed.
  public func open(
    _ name: String, _ mode: OpenMode, as user: ClientUser
  ) async throws(Refusal) -> Stream {
    let id: ObjectID = try await call(as: user) { call, done in
      call.walk(Array(name.utf8), then: done)
    }
    // An open object stays known.
    defer { objects.forget(id, 1) }
    let opened: Opened = try await call(as: user) { call, done in
      call.open(id, mode, then: done)
    }
    return Stream(self, opened, as: user)
  }
}

/// An open object with V's stream operations (UIO, 1987): octet by octet, octets from the present
/// position, or the blocks of the object.
///
/// A value for one task at a time.
public struct Stream: Sendable {
  public let id: OpenID
  public let attributes: UIOAttributes
  private let client: Client
  private let user: ClientUser
  private var block: ArraySlice<UInt8> = []
  /// Octets read and written so far: the position in an object that has positions.
  private var position: UInt64 = 0

  init(_ client: Client, _ opened: Opened, as user: ClientUser) {
    self.client = client
    self.user = user
    id = opened.id
    attributes = opened.attributes
  }

  /// The next block, or the rest of one; nil at the end.
  public mutating func nextBlock() async throws(Refusal) -> [UInt8]? {
    if !block.isEmpty { return Array(block.takeAll()) }
    let (id, position) = (id, position)
    let pieces = try await client.call(as: user) { call, done in
      call.read(id, count: Message.segmentBytesMax, at: position, then: done)
    }
    let octets = pieces.flatMap { $0 }
    self.position += UInt64(octets.count)
    return octets.isEmpty ? nil : octets
  }

  /// The next octet; nil at the end.
  public mutating func nextByte() async throws(Refusal) -> UInt8? {
    if block.isEmpty {
      guard let next = try await nextBlock() else { return nil }
      block = next[...]
    }
    return block.removeFirst()
  }

  /// Everything up to the end.
  public mutating func readAll() async throws(Refusal) -> [UInt8] {
    var octets: [UInt8] = []
    while let block = try await nextBlock() { octets += block }
    return octets
  }

  /// Writes all of it, at the position where the last write ended.
  public mutating func write(_ octets: [UInt8]) async throws(Refusal) {
    var rest = octets[...]
    while !rest.isEmpty {
      let piece = Array(rest)
      let (id, position) = (id, position)
      let count: Int = try await client.call(as: user) { call, done in
        unsafe call.write(id, piece.span.bytes, at: position, dropsPrivileges: false, then: done)
      }
      guard count > 0 else { throw Refusal(.deviceError, "nothing was written") }
      self.position += UInt64(count)
      rest = rest.dropFirst(count)
    }
  }

  /// The descriptors of a context that is open as a directory.
  public mutating func records() async throws(Refusal) -> [Descriptor] {
    var records: [Descriptor] = []
    while true {
      let next = records.last?.nextPosition ?? 0
      let id = id
      let more = try await client.call(as: user) { call, done in
        call.readRecords(id, from: next, then: done)
      }
      if more.isEmpty { return records }
      records += more
    }
  }

  /// Closes it; it must not be used afterwards.
  public func close() { client.close(id) }
}

extension ArraySlice {
  fileprivate mutating func takeAll() -> ArraySlice {
    defer { self = [] }
    return self
  }
}
