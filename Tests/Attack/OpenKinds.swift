import VProtocol

/// A kind of object that the owner has open, and the operations that it supports.
struct OpenKind {
  /// In addition to describing, synchronizing, changing the owner and releasing, which all support.
  struct Can: OptionSet {
    var rawValue: Int
    static let read = Can(rawValue: 1)
    static let write = Can(rawValue: 2)
    static let modify = Can(rawValue: 4)
    static let lock = Can(rawValue: 8)
  }

  /// The octets that a read gets.
  enum Source {
    /// The same octets at every read.
    case kept
    /// Other octets at every read, such as the time or the node's counters.
    case changing
    /// Nothing.
    case none
    /// The octets that the test puts in, once.
    case pipe, mailbox
    case output(FakeStream)
    /// Nothing until the program changes its state.
    case later
  }

  enum FakeStream { case out, err }

  /// `PROGRAM` is the owner's program, `PROCESS` one of her processes.
  var path: String
  var mode: OpenMode
  var can: Can
  var source: Source
  /// The octets that are written.
  var data: [UInt8]

  init(
    _ path: String, _ mode: OpenMode, _ can: Can, _ source: Source = .kept,
    writing text: String = "1"
  ) {
    (self.path, self.mode, self.can, self.source) = (path, mode, can, source)
    data = Array(text.utf8)
  }

  /// The operations that must succeed for the owner.
  func works(_ code: UInt32) -> Bool {
    switch code {
    case ReadInstance.code: can.contains(.read)
    case WriteInstance.code: can.contains(.write)
    case ModifyInstance.code: can.contains(.modify)
    case LockInstance.code, QueryLock.code: can.contains(.lock)
    // A new operation has to say here whom it works for.
    case QueryInstance.code, SyncInstance.code, ChangeOwner.code, ReleaseInstance.code,
      AwaitInstance.code:
      true
    default: false
    }
  }

  static let all = storage + pipes + groups + programs + nodes + shared

  private static let storage = [
    OpenKind(
      "storage/kea/own/file", [.read, .write, .create], [.read, .write, .modify, .lock]),
    OpenKind("storage/kea/own", [.read, .directory], [.read, .modify, .lock]),
    OpenKind("ram/kea/own/file", [.read, .write, .create], [.read, .write, .modify]),
    OpenKind("ram/kea/own", [.read, .directory], [.read, .modify]),
    OpenKind("ram/kea", [.read, .directory], [.read, .modify]),
  ]
  private static let pipes = [
    OpenKind(
      "pipe/kea/own", [.read, .write, .create], [.read, .write, .modify], .pipe),
    OpenKind("pipe/kea/ends", .read, [.read, .modify], .pipe),
    OpenKind("pipe/kea/ends", .write, [.write, .modify], .none),
    OpenKind("pipe/kea", [.read, .directory], .read),
  ]
  private static let groups = [
    OpenKind("group/own/members/ann", .read, [.read, .modify], .mailbox),
    OpenKind("group/own/send", [.read, .write], [.read, .write, .modify], .changing),
    OpenKind("group/own/datagram", .write, [.write, .modify], .none),
    OpenKind("group/own/status", .read, .read),
    OpenKind("group/own/members", [.read, .directory], [.read, .modify]),
    OpenKind("group/own", [.read, .directory], .read),
    OpenKind("group", [.read, .directory], [.read, .modify]),
    OpenKind("group/kernels/members", [.read, .directory], .read),
    OpenKind("group/kernels/status", .read, .read),
  ]
  private static let programs = [
    OpenKind("team/kea/new", [.read, .write], [.read, .write, .modify], .changing),
    OpenKind("team/kea/PROGRAM/in", .write, [.write, .modify], .none),
    OpenKind("team/kea/PROGRAM/out", .read, .read, .output(.out)),
    OpenKind("team/kea/PROGRAM/err", .read, .read, .output(.err)),
    OpenKind("team/kea/PROGRAM/wait", .read, [], .later),
    OpenKind("team/kea/PROGRAM/events", .read, [], .later),
    OpenKind(
      "team/kea/PROGRAM/ctl", [.read, .write], [.read, .write, .modify], writing: "class background"
    ),
    OpenKind("team/kea/PROGRAM/mem", .read, .read),
    OpenKind("team/kea/PROGRAM/environ", .read, .read),
    OpenKind("team/kea/PROGRAM/regions", .read, .read),
    OpenKind("team/kea/PROGRAM/status", .read, .read),
    OpenKind("team/kea/PROGRAM/cmdline", .read, .read),
    OpenKind("team/kea/PROGRAM/pid", .read, .read),
    OpenKind("team/kea/PROGRAM/proc", [.read, .directory], .read),
    OpenKind("team/kea/PROGRAM", [.read, .directory], .read),
    OpenKind("team/kea/status", .read, .read),
    OpenKind("team/kea/ctl", .read, .read),
    OpenKind("team/kea/7.init/status", .read, .read),
    OpenKind("team/kea/7.init", [.read, .directory], .read),
    OpenKind("team/kea", [.read, .directory], .read),
  ]
  private static let nodes = [
    OpenKind("host/kea/status", .read, .read), OpenKind("host/kea/time", .read, .read),
    OpenKind("host/kea/uio", .read, .read), OpenKind("host/kea/entity", .read, .read),
    OpenKind("host/kea/proc/PROCESS", .read, .read),
    OpenKind("host/kea/proc", [.read, .directory], .read),
    OpenKind("host/kea/net/stats", .read, .read), OpenKind("host/kea/net/map", .read, .read),
    OpenKind("host/kea/net/peers", .read, .read), OpenKind("host/kea/net/trace", .read, .read),
    OpenKind("host/kea/net", [.read, .directory], .read),
    OpenKind("host/kea/device/null", [.read, .write], [.read, .write, .modify]),
    OpenKind("host/kea/device/zero", [.read, .write], [.read, .write, .modify]),
    OpenKind(
      "host/kea/device/random", [.read, .write], [.read, .write, .modify], .changing),
    OpenKind("host/kea/device/clock", .read, .read, .changing),
    OpenKind("host/kea/device", [.read, .directory], .read),
    OpenKind("host/kea", [.read, .directory], .read),
  ]
  /// The records of the directory itself.
  private static let shared =
    [""].map { OpenKind($0, [.read, .directory], .read) }
    + ["storage", "pipe", "ram", "team", "host"].map {
      OpenKind($0, [.read, .directory], .read)
    }
}
