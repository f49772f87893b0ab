internal import CFuse3
internal import CVLinux
internal import Glibc

/// A buffer for one request at a time, with the data that was read from it.
///
/// It belongs to one thread while that thread reads /dev/fuse; `FuseSession` passes it on under its
/// lock.
@safe final class FuseReader: @unchecked Sendable {
  private let buffer: UnsafeMutableRawBufferPointer
  /// The number of the present request.
  private(set) var unique: UInt64 = 0
  private(set) var dropsPrivileges = false
  var names = RequestNames(user: "")

  /// The result of reading.
  enum Outcome {
    case request(bytes: Int)
    case empty
    /// Unmounted, or the connection was aborted.
    case ended
  }

  /// The largest WRITE with its headers: the kernel refuses to use a smaller buffer.
  private static let bufferBytes = Int(InitReply.writeBytesMax) + 4096

  convenience init?() { self.init(bytes: Self.bufferBytes) }

  /// The pages are allocated before the first request: the kernel fails a request whose server dies
  /// while a page of its buffer is brought in.
  private init?(bytes: Int) {
    let memory = unsafe mmap(
      nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0)
    guard let memory = unsafe memory, unsafe memory != MAP_FAILED else { return nil }
    unsafe buffer = UnsafeMutableRawBufferPointer(start: memory, count: bytes)
  }

  /// A copy with the present request of another reader, which can then read the next one.
  convenience init?(copying other: FuseReader, bytes: Int) {
    self.init(bytes: bytes)
    unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: other.buffer[..<bytes]))
  }

  deinit { _ = unsafe munmap(buffer.baseAddress, buffer.count) }

  func read(_ descriptor: Int32) -> Outcome {
    while true {
      let count = unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      if count >= MemoryLayout<fuse_in_header>.size { return .request(bytes: count) }
      guard count < 0 else { return .ended }
      switch errno {
      // ENOENT: the request was withdrawn while it was being read.
      case EINTR, ENOENT: continue
      case EAGAIN: return .empty
      default: return .ended
      }
    }
  }

  var header: fuse_in_header { unsafe buffer.load(as: fuse_in_header.self) }

  /// The fixed part of the present request.
  func arguments<Record: BitwiseCopyable>(_ type: Record.Type) -> Record {
    unsafe buffer.load(fromByteOffset: MemoryLayout<fuse_in_header>.size, as: Record.self)
  }

  /// Lets libfuse parse the present request and call its operation.
  func process(bytes: Int, by session: OpaquePointer) {
    let header = header
    unique = header.unique
    dropsPrivileges = mustDropPrivileges(fuse_opcode(header.opcode))
    var request = unsafe fuse_buf()
    unsafe request.size = bytes
    unsafe request.mem = buffer.baseAddress
    unsafe pthread_setspecific(Self.currentKey, Unmanaged.passUnretained(self).toOpaque())
    unsafe fuse_session_process_buf(session, &request)
  }

  /// libfuse 3.14 drops the bits by which HANDLE_KILLPRIV_V2 requests this, so they are read here.
  private func mustDropPrivileges(_ opcode: fuse_opcode) -> Bool {
    switch opcode {
    case FUSE_WRITE:
      arguments(fuse_write_in.self).write_flags & UInt32(FUSE_WRITE_KILL_SUIDGID) != 0
    case FUSE_SETATTR:
      arguments(fuse_setattr_in.self).valid & UInt32(FATTR_KILL_SUIDGID) != 0
    case FUSE_OPEN:
      arguments(fuse_open_in.self).open_flags & UInt32(FUSE_OPEN_KILL_SUIDGID) != 0
    case FUSE_CREATE:
      arguments(fuse_create_in.self).open_flags & UInt32(FUSE_OPEN_KILL_SUIDGID) != 0
    default: false
    }
  }

  /// The reader of this thread, inside an operation that `process` called.
  static var current: FuseReader {
    let reader = unsafe pthread_getspecific(currentKey)
    guard let reader = unsafe reader else {
      preconditionFailure("operations are called by the thread that read the request")
    }
    return unsafe Unmanaged<FuseReader>.fromOpaque(reader).takeUnretainedValue()
  }

  private static let currentKey: pthread_key_t = {
    var key = pthread_key_t()
    let error = unsafe pthread_key_create(&key, nil)
    precondition(error == 0, "a process has 1,024 keys")
    return key
  }()
}
