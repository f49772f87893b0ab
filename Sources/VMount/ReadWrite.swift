internal import Glibc
internal import VProtocol
internal import VRuntime

/// READ and WRITE. What is larger than a segment is sent in pieces, several at a time.
extension Mount {
  /// Pieces of one request under way at once: 128 KB on the wire hide the trip to the manager.
  private static let piecesAtWorkMax = 8
  private static let pieceBytes = Message.segmentBytesMax

  func read(_ request: FuseRequest, _ id: HandleID, count: Int, at offset: UInt64) {
    guard let handle = handles[id] else { return request.fail(EBADF) }
    guard handle.isPositional else { return readBlock(request, id, handle, count: count) }
    guard count > Self.pieceBytes else {
      use(id, for: request) {
        ReadInstance($0, position: offset, count: count)
      } then: {
        Self.reply(request, $0)
      }
      return
    }
    let starts = Array(stride(from: 0, to: count, by: Self.pieceBytes))
    let size = { @Sendable (index: Int) in min(Self.pieceBytes, count - starts[index]) }
    Pieces<ReadInstance.Answer>(count: starts.count, window: Self.piecesAtWorkMax) {
      [self] index, done in
      use(id, for: request) {
        ReadInstance($0, position: offset + UInt64(starts[index]), count: size(index))
      } then: {
        done($0)
      }
    } isShort: { index, answer in
      if case .done(let block, _) = answer { block.data.count < size(index) } else { true }
    } end: { answers in
      Self.reply(request, answers, size)
    }.run()
  }

  /// One block of an object that has no octet positions: one read never joins two.
  private func readBlock(_ request: FuseRequest, _ id: HandleID, _ handle: Handle, count: Int) {
    use(id, for: request, mustEnd: true, undo: handle.undo) {
      ReadInstance($0, position: handle.blocksRead, count: min(count, Self.pieceBytes))
    } then: { [self] answer in
      if case .done(let block, _) = answer, !block.data.isEmpty { handles.countBlockRead(id) }
      Self.reply(request, answer)
    }
  }

  private static func reply(_ request: FuseRequest, _ answer: Answer<ReadInstance.Answer>) {
    switch answer {
    case .done(let block, _): request.reply(block.data)
    case .refused(.endOfFile): request.reply([])
    case .refused(let code): request.fail(code)
    }
  }

  /// Joins the pieces up to the first that is short.
  ///
  /// An error in any of them is the answer: of a short one the kernel makes the end of the file,
  /// and zeros in memory that a program has mapped.
  private static func reply(
    _ request: FuseRequest, _ answers: [Answer<ReadInstance.Answer>?], _ size: (Int) -> Int
  ) {
    var pieces: [[UInt8]] = []
    reading: for (index, answer) in answers.enumerated() {
      switch answer {
      case .done(let block, _):
        if !block.data.isEmpty { pieces.append(block.data) }
        if block.data.count < size(index) { break reading }
      case .refused(let code):
        if code != .endOfFile { return request.fail(code) }
        break reading
      case nil: break reading
      }
    }
    request.reply(pieces: pieces)
  }
}

// MARK: - Writing

extension Mount {
  func write(
    _ request: FuseRequest, _ id: HandleID, _ data: UnsafeRawBufferPointer, at offset: UInt64
  ) {
    guard let handle = handles[id] else { return request.fail(EBADF) }
    let dropsPrivileges = request.dropsPrivileges
    guard handle.isPositional else {
      let block = unsafe Array(data.prefix(Self.pieceBytes))
      return writeBlock(request, id, handle, block)
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
      use(id, for: request, mayRepeat: !isAppending) {
        WriteInstance(
          $0, position: offset + UInt64(index * Self.pieceBytes), data: pieces[index],
          dropsPrivileges: dropsPrivileges)
      } then: {
        done($0)
      }
    } isShort: { index, answer in
      if case .done(let written, _) = answer { written.count < pieces[index].count } else { true }
    } end: { answers in
      Self.reply(request, answers) { pieces[$0].count }
    }.run()
  }

  /// One block of an object that has no octet positions.
  ///
  /// More data is left to the next write, so that a signal never hides how much was taken.
  private func writeBlock(
    _ request: FuseRequest, _ id: HandleID, _ handle: Handle, _ block: [UInt8]
  ) {
    let dropsPrivileges = request.dropsPrivileges
    use(id, for: request, mustEnd: true, undo: handle.undo) {
      WriteInstance(
        $0, position: handle.blocksWritten, data: block, dropsPrivileges: dropsPrivileges)
    } then: { [self] answer in
      if case .done = answer { handles.countBlockWritten(id) }
      Self.reply(request, [answer]) { _ in block.count }
    }
  }

  /// Says how much was written up to the first error; an error counts only in front of all data.
  private static func reply(
    _ request: FuseRequest, _ answers: [Answer<WriteInstance.Answer>?], _ size: (Int) -> Int
  ) {
    var count = 0
    writing: for (index, answer) in answers.enumerated() {
      switch answer {
      case .done(let written, _):
        count += min(written.count, size(index))
        if written.count < size(index) { break writing }
      case .refused(let code):
        if count == 0 { return request.fail(code) }
        break writing
      case nil: break writing
      }
    }
    request.reply(written: count)
  }
}
