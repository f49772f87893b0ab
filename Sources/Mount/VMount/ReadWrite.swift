internal import Glibc
internal import VProtocol
internal import VRuntime

/// READ and WRITE. What is larger than a segment is sent in pieces, several at a time.
extension FuseRequest {
  /// Pieces of one request under way at once: 128 KB on the wire hide the trip to the manager.
  private static let piecesAtWorkMax = 8
  private static let pieceBytes = Message.segmentBytesMax

  func read(_ id: HandleID, count: Int, at offset: UInt64) {
    guard let handle = mount.handles[id] else { return fail(EBADF) }
    guard handle.isPositional else { return readBlock(id, handle, count: count) }
    guard count > Self.pieceBytes else {
      return use(id) {
        ReadInstance($0, position: offset, count: count)
      } then: { [self] answer in
        finish(reading: answer)
      }
    }
    let starts = Array(stride(from: 0, to: count, by: Self.pieceBytes))
    let size = { @Sendable (index: Int) in min(Self.pieceBytes, count - starts[index]) }
    Pieces<ReadInstance.Answer>(count: starts.count, window: Self.piecesAtWorkMax) {
      [self] index, done in
      use(
        id, { ReadInstance($0, position: offset + UInt64(starts[index]), count: size(index)) },
        then: done)
    } isShort: { index, answer in
      if case .done(let block, _) = answer { block.data.count < size(index) } else { true }
    } end: { [self] answers in
      finish(reading: answers, size)
    }.run()
  }

  /// One block of an object that has no octet positions: one read never joins two.
  private func readBlock(_ id: HandleID, _ handle: Handle, count: Int) {
    use(id, mustEnd: true, undo: handle.undo) {
      ReadInstance($0, position: handle.blocksRead, count: min(count, Self.pieceBytes))
    } then: { [self] answer in
      if case .done(let block, _) = answer, !block.data.isEmpty { mount.handles.countBlockRead(id) }
      finish(reading: answer)
    }
  }

  private func finish(reading answer: Answer<ReadInstance.Answer>) {
    switch answer {
    case .done(let block, _): reply(block.data)
    case .refused(.endOfFile): reply([])
    case .refused(let code): fail(code)
    }
  }

  /// Joins the pieces up to the first that is short.
  ///
  /// An error in any of them is the answer: of a short one the kernel makes the end of the file,
  /// and zeros in memory that a program has mapped.
  private func finish(reading answers: [Answer<ReadInstance.Answer>?], _ size: (Int) -> Int) {
    var pieces: [[UInt8]] = []
    reading: for (index, answer) in answers.enumerated() {
      switch answer {
      case .done(let block, _):
        if !block.data.isEmpty { pieces.append(block.data) }
        if block.data.count < size(index) { break reading }
      case .refused(let code):
        if code != .endOfFile { return fail(code) }
        break reading
      case nil: break reading
      }
    }
    reply(pieces: pieces)
  }
}

// MARK: - Writing

extension FuseRequest {
  func write(_ id: HandleID, _ data: UnsafeRawBufferPointer, at offset: UInt64) {
    guard let handle = mount.handles[id] else { return fail(EBADF) }
    guard handle.isPositional else {
      return unsafe writeBlock(id, handle, Array(data.prefix(Self.pieceBytes)))
    }
    // The data is the reader's: it is copied before this function returns.
    let pieces = stride(from: 0, to: data.count, by: Self.pieceBytes).map { start in
      unsafe Array(data[start..<min(start + Self.pieceBytes, data.count)])
    }
    // Each piece appended is in one place, and behind the one before it.
    let isAppending = handle.mode.contains(.append)
    Pieces<WriteInstance.Answer>(
      count: pieces.count, window: isAppending ? 1 : Self.piecesAtWorkMax
    ) { [self] index, done in
      use(
        id, mayRepeat: !isAppending,
        { [self] instance in
          WriteInstance(
            instance, position: offset + UInt64(index * Self.pieceBytes), data: pieces[index],
            dropsPrivileges: dropsPrivileges)
        }, then: done)
    } isShort: { index, answer in
      if case .done(let written, _) = answer { written.count < pieces[index].count } else { true }
    } end: { [self] answers in
      finish(writing: answers) { pieces[$0].count }
    }.run()
  }

  /// One block of an object that has no octet positions.
  ///
  /// More data is left to the next write, so that a signal never hides how much was taken.
  private func writeBlock(_ id: HandleID, _ handle: Handle, _ block: [UInt8]) {
    use(id, mustEnd: true, undo: handle.undo) { [self] instance in
      WriteInstance(
        instance, position: handle.blocksWritten, data: block, dropsPrivileges: dropsPrivileges)
    } then: { [self] answer in
      if case .done = answer { mount.handles.countBlockWritten(id) }
      finish(writing: [answer]) { _ in block.count }
    }
  }

  /// Says how much was written up to the first error; an error counts only in front of all data.
  private func finish(writing answers: [Answer<WriteInstance.Answer>?], _ size: (Int) -> Int) {
    var count = 0
    writing: for (index, answer) in answers.enumerated() {
      switch answer {
      case .done(let written, _):
        count += min(written.count, size(index))
        if written.count < size(index) { break writing }
      case .refused(let code):
        if count == 0 { return fail(code) }
        break writing
      case nil: break writing
      }
    }
    reply(written: count)
  }
}
