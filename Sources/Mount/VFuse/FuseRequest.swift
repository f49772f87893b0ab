internal import CFuse3
internal import CVLinux
internal import Glibc
internal import Synchronization

/// One request of the kernel, to be answered exactly once.
///
/// A second answer traps. A request that a signal ended has its answer already: a later answer is
/// dropped, and `false` tells the caller to undo an effect that the kernel does not know of.
public final class FuseRequest: Sendable {
  private enum Phase { case open, answered, interrupted }

  private struct State {
    var phase = Phase.open
    /// The effect of a signal, once INTERRUPT can find the request.
    var interrupted: (@Sendable () -> Void)?
  }

  /// libfuse's handle of the request; valid until it is answered, which happens once.
  @safe private struct Handle: @unchecked Sendable {
    let request: fuse_req_t
  }

  public let session: FuseSession
  /// The kernel's number of the request, which an INTERRUPT has.
  private let unique: UInt64
  /// The names of the numbers in the request, the caller's included.
  public let names: RequestNames
  private let isPoll: Bool
  /// The thread that asks; 0 where this node cannot see it.
  public let process: Int32
  /// The permissions in a mode that this request may give to a new object.
  private let permissionMask: UInt32
  /// Whether the request must clear set-user and set-group bits (HANDLE_KILLPRIV_V2).
  public let dropsPrivileges: Bool

  private let handle: Handle
  private let state = Mutex(State())

  /// The request that libfuse passes to an operation, on the thread that read it.
  @safe init(_ request: fuse_req_t) {
    handle = unsafe Handle(request: request)
    session = unsafe FuseSession.of(fuse_req_userdata(request))
    let context = unsafe fuse_req_ctx(request)!
    process = unsafe context.pointee.pid
    permissionMask = unsafe 0o7777 & ~UInt32(context.pointee.umask)
    let reader = FuseReader.current
    unique = reader.unique
    isPoll = fuse_opcode(reader.header.opcode) == FUSE_POLL
    names = reader.names
    dropsPrivileges = reader.dropsPrivileges
  }

  func permissions(_ mode: UInt32) -> UInt32 { mode & permissionMask }

  /// Whether the calling process is root with all rights over the host, which takes longer to find
  /// out than most requests take; false if that is unknown.
  public var isOfFullRoot: Bool { v_is_full_root(process) == 1 }

  /// Sends SIGPIPE to the writing thread, as Linux does for a pipe without a reader.
  ///
  /// The write must then be failed: for FUSE Linux does not send the signal.
  ///
  /// Not of a request that a signal has ended: that thread has gone on.
  public func signalBrokenPipe() {
    if isOpen { v_signal_broken_pipe(process) }
  }
}

// MARK: - Signals

extension FuseRequest {
  /// Lets INTERRUPT find the request, before it waits for anything.
  ///
  /// Each signal then calls `interrupted`; further calls of this method change nothing. False if
  /// the request has been ended.
  public func awaitInterrupt(_ interrupted: @escaping @Sendable () -> Void) -> Bool {
    let (isOpen, isFirst) = state.withLock { state in
      precondition(state.phase != .answered, "an answered request asks for nothing")
      let isFirst = state.interrupted == nil
      if isFirst { state.interrupted = interrupted }
      return (state.phase == .open, isFirst)
    }
    if isFirst { session.waiting.withLock { $0[unique] = self } }
    return isOpen
  }

  func interrupt() { state.withLock { $0.interrupted }?() }

  /// Answers EINTR in the place of whatever the request still waits for; false if it has its
  /// answer.
  ///
  /// A poll has no events then: Linux would make one of an error, and sees the signal itself.
  public func endInterrupted() -> Bool {
    let isMine = state.withLock { state in
      guard state.phase == .open else { return false }
      state.phase = .interrupted
      return true
    }
    guard isMine else { return false }
    unlist()
    _ =
      isPoll
      ? unsafe fuse_reply_poll(handle.request, 0) : unsafe fuse_reply_err(handle.request, EINTR)
    return true
  }

  public var isOpen: Bool { state.withLock { $0.phase == .open } }

  private func unlist() { session.waiting.withLock { $0[unique] = nil } }
}

// MARK: - The answer

extension FuseRequest {
  /// The operation was done and has no result.
  public func done() { answer { unsafe fuse_reply_err($0.request, 0) } }

  /// `error` is a number of Linux, above 0.
  public func fail(_ error: Int32) {
    precondition(error > 0, "a failure has an error number")
    answer { unsafe fuse_reply_err($0.request, error) }
  }

  /// FORGET has no answer: libfuse only frees its data.
  func endForget() {
    answer {
      unsafe fuse_reply_none($0.request)
      return 0
    }
  }

  public func reply(_ octets: [UInt8]) { _ = unsafe octets.withUnsafeBytes { unsafe reply($0) } }

  public func reply(_ attributes: FileAttributes) {
    var record = fuse_attr_out()
    record.attr = attributes.record
    reply(record: record)
  }

  /// Returns whether the kernel has it now: if not, the lookup must be taken back.
  public func reply(_ entry: FileEntry) -> Bool { reply(record: entry.record) }

  /// Returns whether the kernel has it now: if not, the file must be closed.
  public func reply(_ opened: OpenedFile) -> Bool { reply(record: opened.record) }

  /// The answer to a create; returns the same as for both.
  public func reply(_ entry: FileEntry, _ opened: OpenedFile) -> Bool {
    reply(record: CreateReply(entry: entry.record, open: opened.record))
  }

  private struct CreateReply: BitwiseCopyable {
    var entry: fuse_entry_out
    var open: fuse_open_out
  }

  public func reply(_ store: StoreRecord) { reply(record: store.record) }

  public func reply(_ lock: FileLock) { reply(record: lock.record) }

  public func reply(_ entries: EntryBuffer) { reply(entries.bytes) }

  public func reply(written count: Int) { answer { unsafe fuse_reply_write($0.request, count) } }

  public func reply(_ events: PollEvents) {
    answer { unsafe fuse_reply_poll($0.request, events.rawValue) }
  }

  /// The size of an extended attribute, or of the list of them.
  public func reply(attributeBytes count: Int) {
    answer { unsafe fuse_reply_xattr($0.request, count) }
  }

  /// Answers with several pieces, which are not copied together first.
  public func reply(pieces: [[UInt8]]) {
    answer { handle in
      var vectors: [iovec] = unsafe []
      unsafe vectors.reserveCapacity(pieces.count)
      return unsafe Self.gather(pieces[...], into: &vectors) {
        unsafe fuse_reply_iov(handle.request, $0, Int32($0.count))
      }
    }
  }

  /// Calls `body` with one vector for each piece; the pieces stay in place meanwhile.
  private static func gather(
    _ pieces: ArraySlice<[UInt8]>, into vectors: inout [iovec], _ body: ([iovec]) -> Int32
  ) -> Int32 {
    guard let piece = pieces.first else { return unsafe body(vectors) }
    return unsafe piece.withUnsafeBytes { bytes in
      unsafe vectors.append(
        iovec(
          iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count))
      return unsafe gather(pieces.dropFirst(), into: &vectors, body)
    }
  }

  /// Answers with a record of the FUSE protocol.
  @discardableResult
  private func reply<Record: BitwiseCopyable>(record: Record) -> Bool {
    unsafe withUnsafeBytes(of: record) { unsafe reply($0) }
  }

  private func reply(_ bytes: UnsafeRawBufferPointer) -> Bool {
    answer {
      unsafe fuse_reply_buf(
        $0.request, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }
  }

  /// Whether the kernel took the answer; false if the request was ended before.
  @discardableResult
  private func answer(_ body: (Handle) -> Int32) -> Bool {
    let (isMine, isListed) = state.withLock { state in
      precondition(state.phase != .answered, "a request is answered once")
      guard state.phase == .open else { return (false, false) }
      state.phase = .answered
      let isListed = state.interrupted != nil
      state.interrupted = nil
      return (true, isListed)
    }
    guard isMine else { return false }
    if isListed { unlist() }
    return body(handle) == 0
  }
}

extension OpenedFile {
  fileprivate var record: fuse_open_out {
    var record = fuse_open_out()
    record.fh = handle
    switch way {
    case .directory: break
    case .backing(let number):
      record.open_flags = UInt32(V_FOPEN_PASSTHROUGH)
      // Newer kernels read the number of the backing file here.
      record.padding = UInt32(number)
    case .requests(let isStream, let isSeekable):
      record.open_flags = UInt32(FOPEN_DIRECT_IO)
      if isStream { record.open_flags |= UInt32(FOPEN_STREAM) }
      if !isSeekable { record.open_flags |= UInt32(FOPEN_NONSEEKABLE) }
    }
    return record
  }
}
