internal import CFuse3
internal import CVLinux
internal import Glibc

/// What poll(2) asks for and tells.
public struct PollEvents: OptionSet, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let readable = PollEvents(rawValue: UInt32(POLLIN | POLLRDNORM))
  public static let writeable = PollEvents(rawValue: UInt32(POLLOUT | POLLWRNORM))
  public static let error = PollEvents(rawValue: UInt32(POLLERR))
  public static let hangUp = PollEvents(rawValue: UInt32(POLLHUP))

  /// What a program asks for: either of the two names of an event is that event.
  init(asked events: UInt32) {
    self = []
    if events & Self.readable.rawValue != 0 { insert(.readable) }
    if events & Self.writeable.rawValue != 0 { insert(.writeable) }
  }
}

/// The kernel's number of an open file that somebody waits for; good until the file is closed.
public struct PollHandle: Sendable {
  fileprivate var number: UInt64
}

extension FuseReader {
  /// Whom the POLL at hand wants to be notified.
  var polled: PollHandle? {
    let arguments = arguments(fuse_poll_in.self)
    let isNotified = arguments.flags & UInt32(FUSE_POLL_SCHEDULE_NOTIFY) != 0
    return isNotified ? PollHandle(number: arguments.kh) : nil
  }
}

extension FuseSession {
  private struct Notification: BitwiseCopyable {
    var header = fuse_out_header()
    var wakeup = fuse_notify_poll_wakeup_out()
  }

  /// Has the kernel ask again for everybody who waits for a file.
  public func notify(_ polled: PollHandle) {
    var notification = Notification()
    notification.header.len = UInt32(MemoryLayout<Notification>.size)
    notification.header.error = Int32(FUSE_NOTIFY_POLL.rawValue)
    notification.wakeup.kh = polled.number
    _ = unsafe Glibc.write(descriptor, &notification, MemoryLayout<Notification>.size)
  }
}
