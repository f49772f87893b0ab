import CVLinux
import Glibc

/// The keeper of one program: its parent's parent, which has its streams and its status.
///
/// The team server starts it with a socket to itself as descriptor 3, and it ends when the server
/// forgets the program. It has one thread, and does one thing after the other.
public enum Keeping {
  /// The main function of the program `vkeep`.
  public static func main() -> Never {
    // Writing to a program that does not read must not end the keeper.
    signal(SIGPIPE, SIG_IGN)
    // It keeps no file system busy.
    unsafe chdir("/")
    let channel = ServerChannel(takingOver: 3)
    guard fcntl(3, F_SETFD, FD_CLOEXEC) == 0, case .start(let order) = channel.next() else {
      let text = "vkeep: the team server of vnode starts this program\n"
      _ = unsafe text.withCString { unsafe write(2, $0, strlen($0)) }
      exit(2)
    }
    Keeper(order, channel).run()
  }
}
