internal import CFuse3
internal import CVLinux
internal import Glibc
internal import Synchronization

/// The connection to the kernel: /dev/fuse, the mount, and libfuse as parser between the two.
///
/// ```
///   program -- kernel -- /dev/fuse -- FuseSession -- FuseReader -- libfuse -- FuseOperations
///                                                                                   |
///                               FuseRequest -- its answer                       FileSystem
/// ```
/// No thread waits here: `serve` reads while there is something to read, and begins requests; they
/// are answered on any thread.
///
/// `fuse` and `system` are set once, by `start`, before any thread reads requests; libfuse locks
/// its own state. All other state is in `state`, `waiting` and `held`.
@safe public final class FuseSession: @unchecked Sendable {
  private struct State {
    /// FuseReaders that no thread uses.
    var readers: [FuseReader] = []
    /// Whether a thread came while all readers were in use: one of them must look again.
    var missed = false
    /// The request and the answer of INIT, until it has been sent.
    var initialization: (unique: UInt64, reply: InitReply)?
    var isEnded = false
  }

  /// The descriptor of the connection; `serve` must be called when it is readable.
  public let descriptor: Int32
  public let backingFiles: BackingFiles
  private let mountPoint: String
  /// The file system that this session mounted.
  private let mountedDevice = Atomic<UInt64>(0)
  private var fuse: OpaquePointer?
  private unowned var fileSystem: (any FileSystem)?
  /// Requests that INTERRUPT can find, by their unique number.
  let waiting = Mutex<[UInt64: FuseRequest]>([:])
  let held = Mutex(HeldRequests())
  private let state: Mutex<State>
  /// The unique number of INIT until it has been answered, else 0, which no request has.
  private let initUnique = Atomic<UInt64>(0)

  /// More threads than this on one queue make every request slower.
  private static let readersMax = 2
  /// The limit of mounts that dead nodes left on the mount point, on top of each other.
  private static let deadMountsMax = 64

  /// Mounts on a directory; `source` is what mount(8) shows as the device.
  public init(mountPoint: String, source: String) throws(MountError) {
    try Self.clearDeadMounts(mountPoint)
    descriptor = unsafe Glibc.open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.error(errno, mountPoint, "open /dev/fuse") }
    self.mountPoint = mountPoint
    backingFiles = BackingFiles(fuse: descriptor)
    let readers = (0..<Self.readersMax).compactMap { _ in FuseReader() }
    state = Mutex(State(readers: readers))
    guard readers.count == Self.readersMax else { throw Self.error(ENOMEM, mountPoint, "mmap") }
    let options =
      "fd=\(descriptor),rootmode=40755,user_id=\(geteuid()),group_id=\(getegid()),allow_other"
    guard unsafe v_mount_fuse(source, mountPoint, options) == 0 else {
      throw Self.error(errno, mountPoint, "mount")
    }
    unsafe mountedDevice.store(v_mount_device(mountPoint), ordering: .relaxed)
  }

  /// libfuse closes the descriptor.
  deinit {
    if let fuse = unsafe fuse { unsafe fuse_session_destroy(fuse) } else { close(descriptor) }
  }

  /// Makes libfuse's part; requests are then begun with `fileSystem`, which outlives `serve`.
  public func start(_ fileSystem: any FileSystem) throws(MountError) {
    self.fileSystem = fileSystem
    var operations = Self.operations
    var io = fuse_custom_io()
    unsafe io.read = { descriptor, buffer, size, _ in unsafe Glibc.read(descriptor, buffer, size) }
    unsafe io.writev = { descriptor, vectors, count, session in
      unsafe FuseSession.of(session).write(descriptor, vectors, count)
    }
    // libfuse copies the operations, the functions and what it needs of the arguments.
    unsafe fuse = "vnode".withCString { name in
      var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [UnsafeMutablePointer(mutating: name)]
      return unsafe arguments.withUnsafeMutableBufferPointer { vector in
        var list = unsafe fuse_args(argc: 1, argv: vector.baseAddress, allocated: 0)
        return unsafe fuse_session_new(
          &list, &operations, MemoryLayout<fuse_lowlevel_ops>.size,
          Unmanaged.passUnretained(self).toOpaque())
      }
    }
    guard let fuse = unsafe fuse, unsafe fuse_session_custom_io(fuse, &io, descriptor) == 0 else {
      unmount()
      throw Self.error(ENOMEM, mountPoint, "fuse_session_new")
    }
  }

  /// Detaches the mount, unless something else is on the mount point by now.
  ///
  /// Open files on it are still served.
  public func unmount() {
    guard unsafe v_mount_device(mountPoint) == mountedDevice.load(ordering: .relaxed) else {
      return
    }
    _ = unsafe v_unmount_detached(mountPoint)
  }

  private static func error(_ errno: Int32, _ mountPoint: String, _ call: String) -> MountError {
    switch errno {
    case ENOENT, ENODEV: .noDevice(mountPoint: mountPoint)
    case EPERM, EACCES: .noPermission(mountPoint: mountPoint)
    default: .failed(mountPoint: mountPoint, call: call, errno: errno)
    }
  }

  /// Removes the mount of a killed node: a mount over it would hide it, not replace it.
  private static func clearDeadMounts(_ mountPoint: String) throws(MountError) {
    for _ in 0..<deadMountsMax {
      var status = stat()
      if unsafe stat(mountPoint, &status) == 0 {
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .notDirectory(mountPoint) }
        return
      }
      switch errno {
      case ENOTCONN, ECONNABORTED:
        guard unsafe v_unmount_detached(mountPoint) == 0 else {
          throw error(errno, mountPoint, "umount")
        }
      case ENOENT, ENOTDIR: throw .noMountPoint(mountPoint)
      default: throw error(errno, mountPoint, "stat")
      }
    }
  }
}

// MARK: - Requests in, answers out

extension FuseSession {
  /// Serves requests until there are none; called whenever the descriptor becomes readable.
  ///
  /// Returns true if this thread found the mount gone; only once.
  public func serve() -> Bool {
    while let reader = takeReader() {
      let isEnded = drain(reader)
      let (isFirstEnd, missed) = state.withLock { state in
        state.readers.append(reader)
        defer {
          state.missed = false
          state.isEnded = state.isEnded || isEnded
        }
        return (isEnded && !state.isEnded, state.missed)
      }
      if isFirstEnd { return true }
      if isEnded || !missed { return false }
    }
    return false
  }

  private func takeReader() -> FuseReader? {
    state.withLock { state in
      guard !state.isEnded else { return nil }
      guard let reader = state.readers.popLast() else {
        state.missed = true
        return nil
      }
      return reader
    }
  }

  private func drain(_ reader: FuseReader) -> Bool {
    while true {
      switch reader.read(descriptor) {
      case .empty: return false
      case .ended: return true
      case .request(let bytes):
        switch fuse_opcode(reader.header.opcode) {
        case FUSE_INTERRUPT:
          if !interrupt(reader.arguments(fuse_interrupt_in.self).unique) {
            // The INTERRUPT can be read before the other thread has made its request known: the
            // kernel then repeats it, or drops it if the request has been answered meanwhile.
            refuse(reader.header.unique, EAGAIN)
          }
        case FUSE_INIT:
          let reply = InitReply(offer: reader.arguments(fuse_init_in.self))
          let unique = reader.header.unique
          state.withLock { $0.initialization = (unique, reply) }
          initUnique.store(unique, ordering: .releasing)
          fallthrough
        default: if admit(reader, bytes: bytes) { process(reader, bytes: bytes) }
        }
      }
    }
  }

  /// A signal has come for a request; false if the request is unknown.
  private func interrupt(_ unique: UInt64) -> Bool {
    guard let request = waiting.withLock({ $0[unique] }) else { return endHeld(unique) }
    request.interrupt()
    return true
  }

  var system: any FileSystem { fileSystem! }

  /// Lets libfuse parse the present request of a reader, and begins it.
  func process(_ reader: FuseReader, bytes: Int) { unsafe reader.process(bytes: bytes, by: fuse!) }

  /// The session that libfuse has as user data.
  static func of(_ userData: UnsafeMutableRawPointer?) -> FuseSession {
    unsafe Unmanaged<FuseSession>.fromOpaque(userData!).takeUnretainedValue()
  }

  /// Answers a request that libfuse has not parsed.
  func refuse(_ unique: UInt64, _ error: Int32) {
    var header = fuse_out_header()
    header.len = UInt32(MemoryLayout<fuse_out_header>.size)
    header.error = -error
    header.unique = unique
    _ = unsafe Glibc.write(descriptor, &header, MemoryLayout<fuse_out_header>.size)
  }

  /// Writes every answer from libfuse to the kernel.
  fileprivate func write(
    _ descriptor: Int32, _ vectors: UnsafeMutablePointer<iovec>?, _ count: Int32
  ) -> Int {
    let unique = unsafe vectors!.pointee.iov_base.load(as: fuse_out_header.self).unique
    if unique == initUnique.load(ordering: .acquiring), count == 2,
      unsafe vectors![1].iov_len == MemoryLayout<v_fuse_init_out>.size
    {
      let reply = state.withLock { $0.initialization!.reply }
      initUnique.store(0, ordering: .releasing)
      unsafe reply.patch(
        &vectors![1].iov_base.assumingMemoryBound(to: v_fuse_init_out.self).pointee)
    }
    let written = unsafe Glibc.writev(descriptor, vectors, count)
    // libfuse logs all errors but ENOENT; that nobody waits after an unmount need not be logged.
    if written < 0 && errno == ENODEV { errno = ENOENT }
    return written
  }
}
