internal import CFuse3
internal import CVLinux
internal import Glibc
internal import VProtocol
internal import VRuntime

/// GETATTR, SETATTR, ACCESS and STATFS, and how a descriptor looks to Linux.
extension FuseRequest {
  func getAttributes(of id: NodeID, _ handle: HandleID?) {
    changeOrQuery(id, handle, byName: { QueryObject($0) }, byInstance: { QueryInstance($0) })
  }

  func setAttributes(of id: NodeID, _ handle: HandleID?, to status: stat, valid: Int32) {
    guard let kind = mount.nodes[id]?.object.kind else { return fail(ESTALE) }
    let modification = modification(status, valid: UInt32(bitPattern: valid), kind)
    // The right to truncate comes with the descriptor, every other one with the user who asks.
    changeOrQuery(
      id, modification.size == nil ? nil : handle, byName: { ModifyObject($0, modification) },
      byInstance: { ModifyInstance($0, modification) })
  }

  /// Sends an operation on the attributes of an object: on its instance if the kernel names one,
  /// else on its context, and if that is lost on an instance that the same user has open, since the
  /// object may have no name any more.
  ///
  /// Setting an attribute twice is setting it once.
  private func changeOrQuery<ByName: Operation, ByInstance: Operation>(
    _ id: NodeID, _ handle: HandleID?, byName: @escaping @Sendable (ContextName) -> ByName,
    byInstance: @escaping @Sendable (InstanceID) -> ByInstance
  ) where ByName.Answer == Descriptor, ByInstance.Answer == Descriptor {
    guard let node = mount.nodes[id] else { return fail(ESTALE) }
    let then: @Sendable (Answer<Descriptor>) -> Void = { [self] answer in
      var answer = answer
      if case .refused(.retransmissionTimeout) = answer, ByName.isIdempotent,
        let root = absentRoot(id, node)
      {
        answer = .done(root.descriptor, by: root.manager)
      }
      finish(answer) { descriptor in
        guard descriptor.identity == node.object.identity else { return fail(ESTALE) }
        withOwner(of: descriptor) { [self] owner in
          var record = fuse_attr_out()
          record.attr = mount.attributes(of: descriptor, owner, in: node)
          reply(record)
        } otherwise: { [self] in
          fail(EIO)
        }
      }
    }
    if let handle, mount.handles[handle] != nil {
      return use(handle, mayRepeat: true, byInstance, then: then)
    }
    ask(about: id, mayRepeat: true) {
      byName($0.name)
    } then: { [self] answer in
      if case .refused(.invalidFileID) = answer,
        let open = mount.handles.any(of: id, openedBy: user)
      {
        use(open, mayRepeat: true, byInstance, then: then)
      } else {
        then(answer)
      }
    }
  }

  /// What the root of a prefix was, where `node` is one.
  private func absentRoot(_ id: NodeID, _ node: Node) -> NameCache.Root? {
    guard mount.nodes[node.parent]?.object.kind == .sharedContext,
      let name = mount.nodes.fullName(of: id)
    else { return nil }
    return mount.names.lastSeen(name)
  }

  func checkAccess(to id: NodeID, _ mask: UInt32) {
    ask(about: id) {
      CheckAccess($0.name, mask: mask & 7)
    } then: { [self] answer in
      finish(answer)
    }
  }

  func queryStore(of id: NodeID) {
    ask(about: id) {
      QueryStore($0.name)
    } then: { [self] answer in
      finish(answer) { reply(Mount.record(of: $0)) }
    }
  }
}

// MARK: - From V to Linux

extension Mount {
  /// One packet group: what a program that asks for the best size of a read should be told.
  private static let blockBytes = UInt32(Message.segmentBytesMax)

  func attributes(of descriptor: Descriptor, _ owner: OwnerNumbers, in node: Node) -> fuse_attr {
    var attributes = fuse_attr()
    attributes.ino = node.inodeNumber
    attributes.size = descriptor.size
    attributes.blocks = descriptor.allocatedBytes / 512
    (attributes.atime, attributes.atimensec) = Self.seconds(descriptor.accessed)
    (attributes.mtime, attributes.mtimensec) = Self.seconds(descriptor.modified)
    (attributes.ctime, attributes.ctimensec) = Self.seconds(descriptor.changed)
    attributes.mode = Self.fileType(descriptor.kind) | descriptor.permissions & 0o7777
    attributes.nlink = descriptor.links
    attributes.uid = owner.uid
    attributes.gid = owner.gid
    attributes.rdev = Self.encode(device: descriptor.deviceNumber)
    attributes.blksize = max(descriptor.blockSize, Self.blockBytes)
    return attributes
  }

  /// The type bits of a Linux mode.
  static func fileType(_ kind: ObjectKind) -> UInt32 {
    switch kind {
    case .context, .sharedContext: S_IFDIR
    case .symbolicLink: S_IFLNK
    case .fifo: S_IFIFO
    case .socket: S_IFSOCK
    case .characterDevice: S_IFCHR
    case .blockDevice: S_IFBLK
    // What a newer manager calls by a kind of its own can be read and written like a file.
    default: S_IFREG
    }
  }

  /// V's device number (major in the high word, minor in the low one) in FUSE's 32 bits: 12 of
  /// major in the middle of 20 of minor.
  ///
  /// A larger one has no place there.
  package static func encode(device: UInt64) -> UInt32 {
    let major = UInt32(truncatingIfNeeded: device >> 32)
    let minor = UInt32(truncatingIfNeeded: device)
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & 0xF_FF00) << 12
  }

  package static func decode(device: UInt32) -> UInt64 {
    let minor = device & 0xFF | device >> 12 & 0xF_FF00
    return UInt64(device >> 8 & 0xFFF) << 32 | UInt64(minor)
  }

  /// Seconds, rounded down also before 1970, and the nanoseconds behind them.
  private static func seconds(_ nanoseconds: Int64) -> (UInt64, UInt32) {
    let (quotient, remainder) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    return remainder < 0
      ? (UInt64(bitPattern: quotient - 1), UInt32(remainder + 1_000_000_000))
      : (UInt64(bitPattern: quotient), UInt32(remainder))
  }

  fileprivate static func record(of store: QueryStore.Answer) -> fuse_statfs_out {
    var record = fuse_statfs_out()
    record.st.bsize = UInt32(clamping: store.blockSize)
    record.st.frsize = UInt32(clamping: store.blockSize)
    record.st.blocks = store.blocks
    record.st.bfree = store.blocksFree
    record.st.bavail = store.blocksAvailable
    record.st.files = store.objects
    record.st.ffree = store.objectsFree
    record.st.namelen = UInt32(clamping: store.nameBytesMax)
    return record
  }
}

// MARK: - From Linux to V

extension FuseRequest {
  private func modification(_ status: stat, valid: UInt32, _ kind: ObjectKind) -> Modification {
    var modification = Modification()
    let has = { (bit: Int32) in valid & UInt32(bit) != 0 }
    if has(FUSE_SET_ATTR_MODE) { modification.permissions = status.st_mode & 0o7777 }
    if has(FUSE_SET_ATTR_UID) { modification.owner = names.owner }
    if has(FUSE_SET_ATTR_GID) { modification.group = names.group }
    if has(FUSE_SET_ATTR_SIZE) { modification.size = UInt64(status.st_size) }
    if has(FUSE_SET_ATTR_ATIME) {
      modification.accessed = has(FUSE_SET_ATTR_ATIME_NOW) ? .now : Self.stamp(status.st_atim)
    }
    if has(FUSE_SET_ATTR_MTIME) {
      modification.modified = has(FUSE_SET_ATTR_MTIME_NOW) ? .now : Self.stamp(status.st_mtim)
    }
    // The kernel leaves this to the server in a chown of anything but a directory.
    let isChown = modification.owner != nil || modification.group != nil
    modification.dropsPrivileges = dropsPrivileges || (isChown && !kind.isContext)
    return modification
  }

  /// A time too far away for 64 bits of nanoseconds is the last or first that fits.
  private static func stamp(_ time: timespec) -> Modification.Stamp {
    let (nanoseconds, overflow) = Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000)
    guard !overflow else { return .at(time.tv_sec < 0 ? .min : .max) }
    let (sum, isOver) = nanoseconds.addingReportingOverflow(Int64(time.tv_nsec))
    return .at(isOver ? .max : sum)
  }
}
