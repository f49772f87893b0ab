public import VProtocol
public import VRuntime

/// Reading and writing open objects.
///
/// More than a segment is sent in pieces, several at a time.
extension Call {
  /// Pieces of one call under way at once: 128 KB on the wire hide the trip to the manager.
  private static let piecesAtWorkMax = 8
  private static let pieceBytes = Message.segmentBytesMax

  /// Octets from `offset` on, in pieces; none at the end, fewer than `count` only there.
  ///
  /// Of an object that has no octet positions it is the next block of at most a segment: one read
  /// never joins two. An error in any of the pieces is the answer: of fewer octets a reader would
  /// make the end of the object. What is behind the end, as far as that is known, is not asked for.
  public func read(
    _ id: OpenID, count: Int, at offset: UInt64,
    then: @escaping @Sendable (Answer<[[UInt8]]>) -> Void
  ) {
    guard let open = client.opens[id] else { return then(.refused(.notReadable)) }
    guard open.isPositional else { return readBlock(id, open, count: count, then: then) }
    guard count > Self.pieceBytes else {
      return use(id) {
        ReadInstance($0, position: offset, count: count)
      } then: { answer in
        then(Self.block(answer))
      }
    }
    let starts = Array(stride(from: 0, to: count, by: Self.pieceBytes))
    let size = { @Sendable (index: Int) in min(Self.pieceBytes, count - starts[index]) }
    Pieces<ReadInstance.Answer>(
      count: starts.count, window: Self.piecesAtWorkMax,
      expected: starts.count { offset + UInt64($0) < open.expectedEnd }
    ) { [self] index, done in
      use(
        id, { ReadInstance($0, position: offset + UInt64(starts[index]), count: size(index)) },
        then: done)
    } isShort: { index, answer in
      if case .done(let block, _) = answer { block.data.count < size(index) } else { true }
    } end: { [self] answers in
      let answer = Self.joined(answers, size, by: open.manager)
      noteEnd(id, open, answer, count: count, at: offset)
      then(answer)
    }.run()
  }

  /// A read that was whole where there should have been nothing is followed by more.
  private func noteEnd(
    _ id: OpenID, _ open: OpenObject, _ answer: Answer<[[UInt8]]>, count: Int, at offset: UInt64
  ) {
    guard case .done(let pieces, _) = answer else { return }
    let read = pieces.reduce(0) { $0 + $1.count }
    let end = offset + UInt64(read)
    if read == count, end >= open.expectedEnd {
      client.opens.noteEnd(id, at: end + UInt64(count))
    } else if read > 0, read < count {
      client.opens.noteEnd(id, at: end)
    }
  }

  private func readBlock(
    _ id: OpenID, _ open: OpenObject, count: Int,
    then: @escaping @Sendable (Answer<[[UInt8]]>) -> Void
  ) {
    use(id, mustEnd: true, undo: open.undo) {
      ReadInstance($0, position: open.blocksRead, count: min(count, Self.pieceBytes))
    } then: { [self] answer in
      if case .done(let block, _) = answer, !block.data.isEmpty {
        client.opens.countBlockRead(id)
      }
      then(Self.block(answer))
    }
  }

  private static func block(_ answer: Answer<ReadInstance.Answer>) -> Answer<[[UInt8]]> {
    switch answer {
    case .done(let block, let manager): .done([block.data], by: manager)
    // Only the manager reports the end; which one does not matter.
    case .refused(.endOfFile): .done([], by: .none)
    case .refused(let refusal): .refused(refusal)
    }
  }

  /// The pieces up to the first short one.
  private static func joined(
    _ answers: [Answer<ReadInstance.Answer>?], _ size: (Int) -> Int, by manager: EntityID
  ) -> Answer<[[UInt8]]> {
    var pieces: [[UInt8]] = []
    reading: for (index, answer) in answers.enumerated() {
      switch answer {
      case .done(let block, _):
        if !block.data.isEmpty { pieces.append(block.data) }
        if block.data.count < size(index) { break reading }
      case .refused(.endOfFile), nil: break reading
      case .refused(let refusal): return .refused(refusal)
      }
    }
    return .done(pieces, by: manager)
  }

  /// Writes at `offset`, or at the end if the mode says so; delivers how many octets were written
  /// before the first error, which is the result only if nothing was written.
  ///
  /// `data` is copied before this returns. Without octet positions it is the next block; octets
  /// beyond a segment are left to the next write, so that a signal never hides how much was taken.
  /// With `dropsPrivileges`, set-user and set-group bits are dropped.
  public func write(
    _ id: OpenID, _ data: RawSpan, at offset: UInt64, dropsPrivileges: Bool,
    then: @escaping @Sendable (Answer<Int>) -> Void
  ) {
    guard let open = client.opens[id] else { return then(.refused(.notReadable)) }
    let bytes = open.isPositional ? data.byteCount : min(data.byteCount, Self.pieceBytes)
    let pieces = stride(from: 0, to: bytes, by: Self.pieceBytes).map { start in
      let piece = data.extracting(start..<min(start + Self.pieceBytes, bytes))
      return unsafe piece.withUnsafeBytes { unsafe Array($0) }
    }
    guard open.isPositional else {
      return writeBlock(
        id, open, pieces.first ?? [], dropsPrivileges: dropsPrivileges, then: then)
    }
    // Appended pieces must each be whole, and in order.
    let isAppending = open.mode.contains(.append)
    Pieces<WriteInstance.Answer>(
      count: pieces.count, window: isAppending ? 1 : Self.piecesAtWorkMax
    ) { [self] index, done in
      use(
        id, mayRepeat: !isAppending,
        { instance in
          WriteInstance(
            instance, position: offset + UInt64(index * Self.pieceBytes), data: pieces[index],
            dropsPrivileges: dropsPrivileges)
        }, then: done)
    } isShort: { index, answer in
      if case .done(let written, _) = answer { written.count < pieces[index].count } else { true }
    } end: { [self] answers in
      let answer = Self.written(answers, by: open.manager) { pieces[$0].count }
      if case .done(let count, _) = answer, offset + UInt64(count) > open.expectedEnd {
        client.opens.noteEnd(id, at: offset + UInt64(count))
      }
      then(answer)
    }.run()
  }

  private func writeBlock(
    _ id: OpenID, _ open: OpenObject, _ block: [UInt8], dropsPrivileges: Bool,
    then: @escaping @Sendable (Answer<Int>) -> Void
  ) {
    use(id, mustEnd: true, undo: open.undo) { instance in
      WriteInstance(
        instance, position: open.blocksWritten, data: block, dropsPrivileges: dropsPrivileges)
    } then: { [self] answer in
      if case .done = answer { client.opens.countBlockWritten(id) }
      then(Self.written([answer], by: open.manager) { _ in block.count })
    }
  }

  private static func written(
    _ answers: [Answer<WriteInstance.Answer>?], by manager: EntityID, _ size: (Int) -> Int
  ) -> Answer<Int> {
    var count = 0
    writing: for (index, answer) in answers.enumerated() {
      switch answer {
      case .done(let written, _):
        count += min(written.count, size(index))
        if written.count < size(index) { break writing }
      case .refused(let refusal):
        if count == 0 { return .refused(refusal) }
        break writing
      case nil: break writing
      }
    }
    return .done(count, by: manager)
  }

  /// A block of records of a context that is open as a directory, from a position on.
  ///
  /// `deviceError` where the manager's positions lead back to where the listing has been: it would
  /// have no end.
  public func readRecords(
    _ id: OpenID, from position: UInt64,
    then: @escaping @Sendable (Answer<[Descriptor]>) -> Void
  ) {
    use(id) {
      ReadInstance($0, position: position, count: Message.segmentBytesMax)
    } then: { [client] answer in
      switch answer {
      case .done(let block, let manager):
        var records: [Descriptor] = []
        var reader = SegmentReader(block.data)
        while reader.remaining > 0 {
          guard let record = try? Descriptor(parsing: &reader) else {
            return then(.refused(.vmtpError))
          }
          records.append(record)
        }
        guard client.opens.note(records, from: position, id) else {
          return then(.refused(Refusal(.deviceError, "the listing leads back to its own records")))
        }
        then(.done(records, by: manager))
      case .refused(.endOfFile): then(.done([], by: .none))
      case .refused(let refusal): then(.refused(refusal))
      }
    }
  }
}
