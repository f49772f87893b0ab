internal import CFuse3
internal import CVLinux
internal import Glibc

/// The operations that libfuse calls, one call each: C values become Swift values here and
/// nowhere else. What has no line is answered ENOSYS, which the kernel remembers: it then seeks
/// and copies by itself.
extension FuseSession {
  static var operations: fuse_lowlevel_ops {
    var operations = fuse_lowlevel_ops()
    addNodeOperations(to: &operations)
    addNameOperations(to: &operations)
    addFileOperations(to: &operations)
    addDirectoryOperations(to: &operations)
    addLockOperations(to: &operations)
    addAttributeOperations(to: &operations)
    return operations
  }

  private static func addNodeOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.lookup = { request, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.lookUp(request, below: parent, octets(name))
    }
    unsafe operations.forget = { request, node, count in
      let request = unsafe FuseRequest(request!)
      request.system.forget(node, count)
      request.endForget()
    }
    unsafe operations.forget_multi = { request, count, forgets in
      let request = unsafe FuseRequest(request!)
      for index in 0..<count {
        let forget = unsafe forgets![index]
        request.system.forget(forget.ino, forget.nlookup)
      }
      request.endForget()
    }
    unsafe operations.getattr = { request, node, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.getAttributes(request, of: node, file?.pointee.fh)
    }
    unsafe operations.setattr = { request, node, attributes, valid, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.setAttributes(
        request, of: node, file?.pointee.fh,
        to: AttributeChange(attributes!.pointee, valid: valid))
    }
    unsafe operations.access = { request, node, mask in
      let request = unsafe FuseRequest(request!)
      request.system.checkAccess(request, to: node, UInt32(mask) & 7)
    }
    unsafe operations.statfs = { request, node in
      let request = unsafe FuseRequest(request!)
      request.system.queryStore(request, of: node)
    }
    unsafe operations.readlink = { request, node in
      let request = unsafe FuseRequest(request!)
      request.system.readLink(request, node)
    }
  }

  private static func addNameOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.mknod = { request, parent, name, mode, device in
      let request = unsafe FuseRequest(request!)
      guard let kind = FileKind(mode: mode) else { return request.fail(EINVAL) }
      unsafe request.system.makeNode(
        request, below: parent, octets(name), kind, permissions: request.permissions(mode),
        deviceNumber: DeviceNumber.decode(UInt32(truncatingIfNeeded: device)))
    }
    unsafe operations.mkdir = { request, parent, name, mode in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.makeDirectory(
        request, below: parent, octets(name), permissions: request.permissions(mode))
    }
    unsafe operations.symlink = { request, target, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.makeSymbolicLink(
        request, below: parent, octets(name), target: octets(target))
    }
    unsafe operations.link = { request, node, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.link(request, node, below: parent, octets(name))
    }
    unsafe operations.unlink = { request, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.removeName(request, below: parent, octets(name), isDirectory: false)
    }
    unsafe operations.rmdir = { request, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.removeName(request, below: parent, octets(name), isDirectory: true)
    }
    unsafe operations.rename = { request, parent, name, newParent, newName, flags in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.rename(
        request, from: Place(parent: parent, name: octets(name)),
        to: Place(parent: newParent, name: octets(newName)), flags: flags)
    }
  }

  private static func addFileOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.open = { request, node, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.open(request, node, OpenFlags(file!.pointee.flags))
    }
    unsafe operations.create = { request, parent, name, mode, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.create(
        request, below: parent, octets(name), OpenFlags(file!.pointee.flags),
        permissions: request.permissions(mode))
    }
    unsafe operations.read = { request, _, size, offset, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.read(request, file!.pointee.fh, count: size, at: UInt64(offset))
    }
    unsafe operations.write = { request, _, data, size, offset, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.write(
        request, file!.pointee.fh, UnsafeRawBufferPointer(start: data, count: size).bytes,
        at: UInt64(offset))
    }
    unsafe operations.fsync = { request, _, isDataOnly, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.synchronize(
        request, file!.pointee.fh, isDataOnly: isDataOnly != 0)
    }
    unsafe operations.release = { request, _, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.close(request, file!.pointee.fh)
    }
    unsafe operations.poll = { request, _, file, notified in
      let request = unsafe FuseRequest(request!)
      // The number in it is read from the request itself.
      if unsafe notified != nil { unsafe fuse_pollhandle_destroy(notified) }
      unsafe request.system.poll(
        request, file!.pointee.fh, for: PollEvents(asked: file!.pointee.poll_events),
        notifying: FuseReader.current.polled)
    }
    // Not ENOSYS: that would be remembered for all files of all managers.
    unsafe operations.fallocate = { request, _, _, _, _, _ in
      unsafe FuseRequest(request!).fail(EOPNOTSUPP)
    }
    unsafe operations.ioctl = { request, _, _, _, _, _, _, _, _ in
      unsafe FuseRequest(request!).fail(ENOTTY)
    }
  }

  private static func addDirectoryOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.opendir = { request, node, _ in
      let request = unsafe FuseRequest(request!)
      request.system.openDirectory(request, node)
    }
    unsafe operations.readdir = { request, node, size, offset, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.readDirectory(
        request, node, file!.pointee.fh, room: size, at: UInt64(bitPattern: Int64(offset)))
    }
    // Directories are closed and synchronized like files.
    unsafe operations.fsyncdir = operations.fsync
    unsafe operations.releasedir = operations.release
  }

  private static func addLockOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.getlk = { request, _, file, lock in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.queryLock(
        request, file!.pointee.fh, FileLock(lock!.pointee, owner: file!.pointee.lock_owner))
    }
    unsafe operations.setlk = { request, node, file, lock, waits in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.setLock(
        request, node, file!.pointee.fh,
        FileLock(lock!.pointee, owner: file!.pointee.lock_owner), waits: waits != 0)
    }
    unsafe operations.flock = { request, node, file, operation in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.setLock(
        request, node, file!.pointee.fh,
        FileLock(operation: operation, owner: file!.pointee.lock_owner),
        waits: operation & LOCK_NB == 0)
    }
    unsafe operations.flush = { request, node, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.flush(
        request, node, file!.pointee.fh, owner: file!.pointee.lock_owner)
    }
  }

  private static func addAttributeOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.getxattr = { request, node, name, room in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.getExtendedAttribute(request, of: node, octets(name), room: room)
    }
    unsafe operations.listxattr = { request, node, room in
      let request = unsafe FuseRequest(request!)
      request.system.listExtendedAttributes(request, of: node, room: room)
    }
    unsafe operations.setxattr = { request, node, name, value, size, flags in
      let request = unsafe FuseRequest(request!)
      let value = unsafe Array(UnsafeRawBufferPointer(start: value, count: size))
      let change: ExtendedChange =
        switch Int(flags) {
        case XATTR_CREATE: .create(value)
        case XATTR_REPLACE: .replace(value)
        default: .set(value)
        }
      unsafe request.system.changeExtendedAttribute(request, of: node, octets(name), change)
    }
    unsafe operations.removexattr = { request, node, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.system.changeExtendedAttribute(request, of: node, octets(name), .remove)
    }
  }
}

extension FuseRequest {
  fileprivate var system: any FileSystem { session.system }
}

/// A name from the kernel, copied because it is valid only during the operation.
private func octets(_ text: UnsafePointer<CChar>?) -> [UInt8] {
  guard let text = unsafe text else { return [] }
  return unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
}
