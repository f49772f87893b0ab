internal import CVLinux

/// The features that this mount requests of the kernel, instead of those of libfuse 3.14.
///
/// libfuse knows protocol 7.31 and drops unknown flags, so its answer to INIT is replaced before it
/// is sent to the kernel. Only features that the kernel offered are requested.
struct InitReply {
  /// The features that the kernel offers.
  let offer: fuse_init_in

  static let writeBytesMax: UInt32 = 1 << 20
  /// What the system control fs.fuse.max_pages_limit allows unless it is changed: 1 MiB.
  private static let pagesMax: UInt16 = 256
  /// Requests that no program waits for, such as read-ahead; the default of 12 is too low.
  private static let backgroundMax: UInt16 = 128
  private static let minorMax: UInt32 = 45

  private static let wantedFlags =
    UInt32(FUSE_ASYNC_READ) | UInt32(FUSE_ATOMIC_O_TRUNC) | UInt32(FUSE_BIG_WRITES)
    | UInt32(FUSE_DONT_MASK) | UInt32(FUSE_AUTO_INVAL_DATA) | UInt32(FUSE_ASYNC_DIO)
    | UInt32(FUSE_PARALLEL_DIROPS) | UInt32(FUSE_MAX_PAGES) | UInt32(FUSE_HANDLE_KILLPRIV_V2)
    | UInt32(FUSE_INIT_EXT) | UInt32(FUSE_POSIX_LOCKS) | UInt32(FUSE_FLOCK_LOCKS)
  private static let wantedFlags2 =
    UInt32(V_FUSE_DIRECT_IO_ALLOW_MMAP) | UInt32(V_FUSE_PASSTHROUGH) | UInt32(V_FUSE_HAS_RESEND)

  /// Rewrites libfuse's answer.
  func patch(_ answer: inout v_fuse_init_out) {
    answer.minor = min(offer.minor, Self.minorMax)
    answer.flags = offer.flags & Self.wantedFlags
    let isExtended = answer.flags & UInt32(FUSE_INIT_EXT) != 0
    answer.flags2 = isExtended ? offer.flags2 & Self.wantedFlags2 : 0
    answer.max_background = Self.backgroundMax
    answer.congestion_threshold = Self.backgroundMax / 4 * 3
    answer.max_write = Self.writeBytesMax
    answer.max_pages = Self.pagesMax
    answer.time_gran = 1
    // Files of this host may be passed through; then this mount is one file system deep.
    answer.max_stack_depth = answer.flags2 & UInt32(V_FUSE_PASSTHROUGH) != 0 ? 1 : 0
  }
}
