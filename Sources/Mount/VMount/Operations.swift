internal import CFuse3
internal import CVLinux
internal import Glibc
internal import VProtocol

/// The operations that libfuse calls, one line each: C values become Swift values here and
/// nowhere else. What has no line is answered ENOSYS, which the kernel remembers: it then polls,
/// seeks and copies by itself.
extension Mount {
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
    unsafe operations.lookup = { unsafe FuseRequest($0!).lookUp(below: $1, octets($2)) }
    unsafe operations.forget = { request, node, count in
      unsafe FuseRequest(request!).forget([fuse_forget_data(ino: node, nlookup: count)])
    }
    unsafe operations.forget_multi = { request, count, forgets in
      unsafe FuseRequest(request!).forget(UnsafeBufferPointer(start: forgets, count: count))
    }
    unsafe operations.getattr = { unsafe FuseRequest($0!).getAttributes(of: $1, $2?.pointee.fh) }
    unsafe operations.setattr = { request, node, attributes, valid, file in
      unsafe FuseRequest(request!).setAttributes(
        of: node, file?.pointee.fh, to: attributes!.pointee, valid: valid)
    }
    unsafe operations.access = { unsafe FuseRequest($0!).checkAccess(to: $1, UInt32($2)) }
    unsafe operations.statfs = { unsafe FuseRequest($0!).queryStore(of: $1) }
    unsafe operations.readlink = { unsafe FuseRequest($0!).readLink($1) }
  }

  private static func addNameOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.mknod = { request, parent, name, mode, device in
      unsafe FuseRequest(request!).makeNode(
        below: parent, octets(name), mode: mode,
        deviceNumber: Mount.decode(device: UInt32(truncatingIfNeeded: device)))
    }
    unsafe operations.mkdir = { request, parent, name, mode in
      unsafe FuseRequest(request!).makeDirectory(below: parent, octets(name), mode: mode)
    }
    unsafe operations.symlink = { request, target, parent, name in
      unsafe FuseRequest(request!).makeSymbolicLink(
        below: parent, octets(name), target: octets(target))
    }
    unsafe operations.link = { request, node, parent, name in
      unsafe FuseRequest(request!).link(node, below: parent, octets(name))
    }
    unsafe operations.unlink = { request, parent, name in
      unsafe FuseRequest(request!).removeName(below: parent, octets(name), isContext: false)
    }
    unsafe operations.rmdir = { request, parent, name in
      unsafe FuseRequest(request!).removeName(below: parent, octets(name), isContext: true)
    }
    unsafe operations.rename = { request, parent, name, newParent, newName, flags in
      unsafe FuseRequest(request!).rename(
        from: (parent, octets(name)), to: (newParent, octets(newName)), flags: flags)
    }
  }

  private static func addFileOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.open = { unsafe FuseRequest($0!).open($1, flags: $2!.pointee.flags) }
    unsafe operations.create = { request, parent, name, mode, file in
      unsafe FuseRequest(request!).create(
        below: parent, octets(name), mode: mode, flags: file!.pointee.flags)
    }
    unsafe operations.read = { request, _, size, offset, file in
      unsafe FuseRequest(request!).read(file!.pointee.fh, count: size, at: UInt64(offset))
    }
    unsafe operations.write = { request, _, data, size, offset, file in
      unsafe FuseRequest(request!).write(
        file!.pointee.fh, UnsafeRawBufferPointer(start: data, count: size), at: UInt64(offset))
    }
    unsafe operations.fsync = { request, _, isDataOnly, file in
      unsafe FuseRequest(request!).sync(file!.pointee.fh, isDataOnly: isDataOnly != 0)
    }
    unsafe operations.release = { request, _, file in
      unsafe FuseRequest(request!).release(file!.pointee.fh)
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
      unsafe FuseRequest(request!).open(node, mode: [.read, .directory])
    }
    unsafe operations.readdir = { request, node, size, offset, file in
      unsafe FuseRequest(request!).readDirectory(
        node, file!.pointee.fh, bytesMax: size, at: UInt64(bitPattern: Int64(offset)))
    }
    // Closed and synchronized as files are.
    unsafe operations.fsyncdir = operations.fsync
    unsafe operations.releasedir = operations.release
  }

  private static func addLockOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.getlk = { request, _, file, lock in
      unsafe FuseRequest(request!).queryLock(
        file!.pointee.fh, Mount.lock(lock!.pointee, owner: file!.pointee.lock_owner))
    }
    unsafe operations.setlk = { request, node, file, lock, waits in
      unsafe FuseRequest(request!).setLock(
        node, file!.pointee.fh, Mount.lock(lock!.pointee, owner: file!.pointee.lock_owner),
        waits: waits != 0)
    }
    unsafe operations.flock = { request, node, file, operation in
      unsafe FuseRequest(request!).setLock(
        node, file!.pointee.fh,
        Mount.lock(operation: operation, owner: file!.pointee.lock_owner),
        waits: operation & LOCK_NB == 0)
    }
    unsafe operations.flush = { request, node, file in
      unsafe FuseRequest(request!).flush(
        node, file!.pointee.fh, owner: file!.pointee.lock_owner)
    }
  }

  private static func addAttributeOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.getxattr = { request, node, name, room in
      unsafe FuseRequest(request!).getAttribute(of: node, octets(name), room: room)
    }
    unsafe operations.listxattr = { unsafe FuseRequest($0!).listAttributes(of: $1, room: $2) }
    unsafe operations.setxattr = { request, node, name, value, size, flags in
      let request = unsafe FuseRequest(request!)
      guard size <= ChangeAttribute.valueBytesMax else { return request.fail(E2BIG) }
      let value = unsafe Array(UnsafeRawBufferPointer(start: value, count: size))
      let change: ChangeAttribute.Change =
        switch Int(flags) {
        case XATTR_CREATE: .create(value)
        case XATTR_REPLACE: .replace(value)
        default: .set(value)
        }
      unsafe request.changeAttribute(of: node, octets(name), change)
    }
    unsafe operations.removexattr = { request, node, name in
      unsafe FuseRequest(request!).changeAttribute(of: node, octets(name), .remove)
    }
  }
}

/// A name of the kernel; valid during the operation, so copied.
private func octets(_ text: UnsafePointer<CChar>?) -> [UInt8] {
  guard let text = unsafe text else { return [] }
  return unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
}
