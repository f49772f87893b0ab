import CVLinux
import Glibc
import Synchronization
public import VProtocol
public import VStore

/// Open files and directories.
extension LinuxStore {
  public func open(
    _ object: StoreHandle, _ mode: OpenMode, as who: Credentials, mayRunUnread: Bool,
    _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle {
    var flags = Self.flags(mode)
    if mode.contains(.truncate) { flags |= O_TRUNC }
    do throws(StoreFailure) {
      return try acting(as: who) { () throws(StoreFailure) -> StoreHandle in
        if mode.contains(.execute) {
          _ = try Self.checked(v_access(object.rawValue, Int32(mode.rights)))
        }
        return try openUnheld(object, flags, patience)
      }
    } catch {
      // Linux reads a program for any user who may run it: here the node of that user does.
      guard error == .refused(.noPermission), mayRunUnread, mode.rights == OpenMode.execute.rights,
        mode.isDisjoint(with: [.truncate, .append])
      else { throw error }
    }
    try checkAccess(object, mask: OpenMode.execute.rights, as: who)
    return try openUnheld(object, O_RDONLY | O_CLOEXEC | O_NOCTTY, patience)
  }

  /// Opens an object for use, without waiting for another program's lease on it: Linux notifies
  /// that program, which then has 45 s.
  private func openUnheld(
    _ object: StoreHandle, _ flags: Int32, _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle {
    do throws(StoreFailure) {
      return try reopen(object, flags | O_NONBLOCK, patience)
    } catch {
      throw error == .refused(.wouldBlock) ? .heldUp(.wouldBlock) : error
    }
  }

  /// Changes the size of a named object; truncate(2) would wait for leases.
  func resize(_ object: StoreHandle, _ size: Int64) throws(StoreFailure) {
    var (oldSize, mode): (UInt64, UInt32) = (0, 0)
    _ = try Self.checked(unsafe v_size_and_mode(object.rawValue, &oldSize, &mode))
    // Opening a fifo or a device has an effect on it.
    switch Self.kind(ofMode: mode) {
    case .file: break
    case .context: throw .refused(.isContext)
    default: throw .refused(.badArguments)
    }
    let file = try openUnheld(object, O_WRONLY | O_CLOEXEC | O_NOCTTY, .mayWait)
    defer { close(file) }
    _ = try Self.checked(v_ftruncate(file.rawValue, size))
  }

  public func create(
    _ name: [UInt8], in directory: StoreHandle, _ mode: OpenMode, permissions: UInt32,
    as who: Credentials
  ) throws(StoreFailure) -> StoreHandle {
    let flags = UInt64(Self.flags(mode) | O_CREAT | O_EXCL)
    return try acting(as: who) { () throws(StoreFailure) -> StoreHandle in
      try Self.handle(
        unsafe Self.terminated(name).withUnsafeBufferPointer {
          unsafe v_openat2(
            directory.rawValue, $0.baseAddress, flags, UInt64(permissions & 0o7777), Self.confined)
        })
    }
  }

  public func object(of file: StoreHandle) throws(StoreFailure) -> StoreHandle {
    try reopen(file, V_O_PATH | O_CLOEXEC, .mayWait)
  }

  public func read(
    _ file: StoreHandle, at position: UInt64, count: Int, _ patience: Patience
  ) throws(StoreFailure) -> [UInt8] {
    guard let start = Int64(exactly: position) else { throw .refused(.badBlockNumber) }
    var failure: StoreFailure?
    let data = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      do throws(StoreFailure) {
        let room = UnsafeMutableRawBufferPointer(buffer)
        filled = try unsafe fill(room, from: file.rawValue, at: start, patience)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    guard data.count < count && patience == .atOnce else { return data }
    // Fewer than wanted: the end of the file, or of what is in memory?
    var size: UInt64 = 0
    var mode: UInt32 = 0
    _ = try Self.checked(unsafe v_size_and_mode(file.rawValue, &size, &mode))
    guard position + UInt64(data.count) >= size else { throw .wouldWait }
    return data
  }

  private func fill(
    _ buffer: UnsafeMutableRawBufferPointer, from file: Int32, at start: Int64,
    _ patience: Patience
  ) throws(StoreFailure) -> Int {
    var done = 0
    while done < buffer.count {
      let flags = patience == .atOnce ? V_RWF_NOWAIT : 0
      let result = unsafe v_pread(
        file, buffer.baseAddress! + done, buffer.count - done, start + Int64(done), flags)
      if patience == .atOnce && Self.saysWait(result) { throw .wouldWait }
      let count = Int(try Self.checked(result))
      done += count
      if count == 0 || patience == .atOnce { break }
    }
    return done
  }

  public func write(
    _ file: StoreHandle, _ data: [UInt8], at position: UInt64, _ mode: OpenMode,
    as who: Credentials, _ patience: Patience
  ) throws(StoreFailure) -> Int {
    guard let start = Int64(exactly: position), start <= Int64.max - Int64(data.count) else {
      throw .refused(.tooLarge)
    }
    if patience == .atOnce {
      // A partial append could not be taken back if the rest had to wait.
      guard !mode.contains(.append), !mode.contains(.synchronous),
        triesWriteAtOnce.load(ordering: .relaxed)
      else { throw .wouldWait }
    }
    return try writing(as: who) { () throws(StoreFailure) -> Int in
      try put(file, data, start, mode, patience)
    }
  }

  private func put(
    _ file: StoreHandle, _ data: [UInt8], _ start: Int64, _ mode: OpenMode, _ patience: Patience
  ) throws(StoreFailure) -> Int {
    var done = 0
    while done < data.count {
      let flags = patience == .atOnce ? V_RWF_NOWAIT : 0
      let result = unsafe data.withUnsafeBytes { bytes in
        unsafe v_pwrite(
          file.rawValue, bytes.baseAddress! + done, bytes.count - done, start + Int64(done), flags)
      }
      if patience == .atOnce {
        if result == -Int64(EOPNOTSUPP) { triesWriteAtOnce.store(false, ordering: .relaxed) }
        // It is written again from the start, at the same place, by a thread that may wait.
        guard result == data.count || !(Self.saysWait(result) || result >= 0) else {
          throw .wouldWait
        }
      }
      if done > 0 && result < 0 { break }
      done += Int(try Self.checked(result))
      // A second call would not be atomic with the first.
      if mode.contains(.append) || result == 0 { break }
    }
    return done
  }

  public func synchronize(_ file: StoreHandle, isDataOnly: Bool) throws(StoreFailure) {
    _ = try Self.checked(v_fsync(file.rawValue, isDataOnly ? 1 : 0))
  }

  public func entries(
    of directory: StoreHandle, from position: UInt64
  ) throws(StoreFailure) -> [DirectoryEntry] {
    guard let start = Int64(exactly: position) else { throw .refused(.badBlockNumber) }
    var records = [UInt8](repeating: 0, count: Self.entriesBytes)
    var from = start
    while true {
      let count = Int(
        try Self.checked(
          unsafe v_entries(directory.rawValue, from, &records, Self.entriesBytes)))
      if count == 0 { return [] }
      let (entries, next) = parse(records[..<count], of: directory)
      if !entries.isEmpty { return entries }
      from = next
    }
  }

  /// linux_dirent64: inode 8, next position 8, length 2, type 1, name, NUL; in the host's order.
  private func parse(
    _ records: ArraySlice<UInt8>, of directory: StoreHandle
  ) -> ([DirectoryEntry], next: Int64) {
    var entries: [DirectoryEntry] = []
    var next: Int64 = 0
    var start = 0
    while start < records.count {
      let length = Int(records[start + 16]) | Int(records[start + 17]) << 8
      let nameStart = start + 19
      let name = Array(records[nameStart..<(start + length)].prefix { $0 != 0 })
      next = Int64(bitPattern: Self.word(records, at: start + 8))
      let dot = UInt8(ascii: ".")
      if name != [dot] && name != [dot, dot] {
        entries.append(
          DirectoryEntry(
            name: name, kind: kind(ofType: records[start + 18], name, in: directory),
            inode: Self.word(records, at: start), nextPosition: UInt64(bitPattern: next)))
      }
      start += length
    }
    return (entries, next)
  }

  /// Some file systems keep no kinds in directories; then the object is queried.
  private func kind(
    ofType type: UInt8, _ name: [UInt8], in directory: StoreHandle
  ) -> ObjectKind {
    guard type == 0 else { return Self.kind(ofMode: UInt32(type) << 12) }
    let mode = unsafe v_mode_of(directory.rawValue, Self.terminated(name))
    return Self.kind(ofMode: mode > 0 ? UInt32(mode) : 0)
  }

  private static func word(_ octets: ArraySlice<UInt8>, at start: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in (0..<8).reversed() { value = value << 8 | UInt64(octets[start + index]) }
    return value
  }

  /// Opens the object of `handle` once more.
  func reopen(
    _ handle: StoreHandle, _ flags: Int32, _ patience: Patience
  ) throws(StoreFailure) -> StoreHandle {
    let result = unsafe v_openat(descriptors, "\(handle.rawValue)", flags)
    if result == -EAGAIN && patience == .atOnce { throw .wouldWait }
    return try Self.handle(result)
  }

  private static func saysWait(_ result: Int64) -> Bool {
    result == -Int64(EAGAIN) || result == -Int64(EOPNOTSUPP)
  }

  private static func flags(_ mode: OpenMode) -> Int32 {
    var flags = O_CLOEXEC | O_NOCTTY
    if mode.contains(.directory) { return flags | O_DIRECTORY | O_RDONLY }
    switch (mode.contains(.read) || mode.contains(.execute), mode.contains(.write)) {
    case (true, true): flags |= O_RDWR
    case (false, true): flags |= O_WRONLY
    default: flags |= O_RDONLY
    }
    if mode.contains(.append) { flags |= O_APPEND }
    if mode.contains(.synchronous) { flags |= O_SYNC }
    return flags
  }

  /// About as many names as one answer has: a descriptor is five times as long as a record here.
  private static let entriesBytes = 4096
}
