import CVLinux
import Glibc

/// The rights with which a program's processes are signalled.
///
/// A program's user may not signal a process that has become another user's, such as a set-user
/// program. The keeper has root's rights, and so it signals from a child process that has only that
/// user's.
enum SignalRights {
  case root
  case user(uid: UInt32, gid: UInt32)

  var isRoot: Bool {
    switch self {
    case .root, .user(uid: 0, _): true
    case .user: false
    }
  }

  /// Signals `targets` as kill(2) does, up to the first that is refused.
  ///
  /// Returns 0, or that error number, negative; `-ESRCH` if none of them exists.
  func send(_ number: Int32, to targets: [Int32]) -> Int32 {
    if case .user(let uid, let gid) = self, !isRoot {
      return unsafe v_kill_as(uid, gid, targets, targets.count, number)
    }
    var result = -ESRCH
    for target in targets {
      if kill(target, number) == 0 { result = 0 } else if errno != ESRCH { return -errno }
    }
    return result
  }

  /// 0 if all existing processes of `targets` may be signalled.
  func check(_ targets: [Int32]) -> Int32 {
    if isRoot { return 0 }
    let error = send(0, to: targets)
    return error == -ESRCH ? 0 : error
  }
}
