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
    unsafe operations.lookup = { request, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.lookUp(request, below: parent, octets(name))
    }
    unsafe operations.forget = { request, node, count in
      let request = unsafe FuseRequest(request!)
      request.mount.nodes.forget(node, count)
      request.forgotten()
    }
    unsafe operations.forget_multi = { request, count, forgets in
      let request = unsafe FuseRequest(request!)
      for index in 0..<count {
        let forget = unsafe forgets![index]
        request.mount.nodes.forget(forget.ino, forget.nlookup)
      }
      request.forgotten()
    }
    unsafe operations.getattr = { request, node, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.getAttributes(request, of: node, file?.pointee.fh)
    }
    unsafe operations.setattr = { request, node, attributes, valid, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.setAttributes(
        request, of: node, file?.pointee.fh, to: attributes!.pointee, valid: valid)
    }
    unsafe operations.access = { request, node, mask in
      let request = unsafe FuseRequest(request!)
      request.mount.checkAccess(request, to: node, UInt32(mask))
    }
    unsafe operations.statfs = { request, node in
      let request = unsafe FuseRequest(request!)
      request.mount.queryStore(request, of: node)
    }
    unsafe operations.readlink = { request, node in
      let request = unsafe FuseRequest(request!)
      request.mount.readLink(request, node)
    }
  }

  private static func addNameOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.mknod = { request, parent, name, mode, device in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.makeNode(
        request, below: parent, octets(name), mode: mode,
        deviceNumber: Mount.decode(device: UInt32(truncatingIfNeeded: device)))
    }
    unsafe operations.mkdir = { request, parent, name, mode in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.makeDirectory(request, below: parent, octets(name), mode: mode)
    }
    unsafe operations.symlink = { request, target, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.makeSymbolicLink(
        request, below: parent, octets(name), target: octets(target))
    }
    unsafe operations.link = { request, node, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.link(request, node, below: parent, octets(name))
    }
    unsafe operations.unlink = { request, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.removeName(request, below: parent, octets(name), isContext: false)
    }
    unsafe operations.rmdir = { request, parent, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.removeName(request, below: parent, octets(name), isContext: true)
    }
    unsafe operations.rename = { request, parent, name, newParent, newName, flags in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.rename(
        request, from: (parent, octets(name)), to: (newParent, octets(newName)), flags: flags)
    }
  }

  private static func addFileOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.open = { request, node, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.open(request, node, flags: file!.pointee.flags)
    }
    unsafe operations.create = { request, parent, name, mode, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.create(
        request, below: parent, octets(name), mode: mode, flags: file!.pointee.flags)
    }
    unsafe operations.read = { request, _, size, offset, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.read(request, file!.pointee.fh, count: size, at: UInt64(offset))
    }
    unsafe operations.write = { request, _, data, size, offset, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.write(
        request, file!.pointee.fh, UnsafeRawBufferPointer(start: data, count: size),
        at: UInt64(offset))
    }
    unsafe operations.fsync = { request, _, isDataOnly, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.sync(request, file!.pointee.fh, isDataOnly: isDataOnly != 0)
    }
    unsafe operations.release = { request, _, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.release(request, file!.pointee.fh)
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
      request.mount.openDirectory(request, node)
    }
    unsafe operations.readdir = { request, node, size, offset, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.readDirectory(
        request, node, file!.pointee.fh, bytesMax: size, at: UInt64(bitPattern: Int64(offset)))
    }
    unsafe operations.fsyncdir = { request, _, isDataOnly, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.sync(request, file!.pointee.fh, isDataOnly: isDataOnly != 0)
    }
    unsafe operations.releasedir = { request, _, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.release(request, file!.pointee.fh)
    }
  }
}

extension Mount {
  private static func addLockOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.getlk = { request, _, file, lock in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.queryLock(
        request, file!.pointee.fh,
        Mount.lock(lock!.pointee, owner: file!.pointee.lock_owner))
    }
    unsafe operations.setlk = { request, node, file, lock, waits in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.setLock(
        request, node, file!.pointee.fh,
        Mount.lock(lock!.pointee, owner: file!.pointee.lock_owner), waits: waits != 0)
    }
    unsafe operations.flock = { request, node, file, operation in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.setLock(
        request, node, file!.pointee.fh,
        Mount.lock(operation: operation, owner: file!.pointee.lock_owner),
        waits: operation & LOCK_NB == 0)
    }
    unsafe operations.flush = { request, node, file in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.flush(
        request, node, file!.pointee.fh, owner: file!.pointee.lock_owner)
    }
  }

  private static func addAttributeOperations(to operations: inout fuse_lowlevel_ops) {
    unsafe operations.getxattr = { request, node, name, room in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.getAttribute(request, of: node, octets(name), room: room)
    }
    unsafe operations.listxattr = { request, node, room in
      let request = unsafe FuseRequest(request!)
      request.mount.listAttributes(request, of: node, room: room)
    }
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
      unsafe request.mount.changeAttribute(request, of: node, octets(name), change)
    }
    unsafe operations.removexattr = { request, node, name in
      let request = unsafe FuseRequest(request!)
      unsafe request.mount.changeAttribute(request, of: node, octets(name), .remove)
    }
  }
}

/// A name of the kernel; valid during the operation, so copied.
private func octets(_ text: UnsafePointer<CChar>?) -> [UInt8] {
  guard let text = unsafe text else { return [] }
  return unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
}
