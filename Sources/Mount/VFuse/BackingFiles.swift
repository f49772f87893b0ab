internal import CVLinux
internal import Glibc
internal import Synchronization

/// The path to the octets of each node's open files: through a backing file of this host without
/// this process, else by requests.
///
/// One inode uses one path at a time, for all its opens, and Linux refuses an open that uses the
/// other. So the first open chooses, and the last close ends the choice. A backing file needs
/// CAP_SYS_ADMIN and a file system that Linux can stack on; without them files go by requests.
public final class BackingFiles: Sendable {
  private struct Way {
    /// Linux's number of the backing file; 0 if the node goes by requests.
    var backing: Int32
    var opens = 0
  }

  private let fuse: Int32
  private let ways = Mutex<[NodeNumber: Way]>([:])

  /// `fuse` is the descriptor of the connection.
  init(fuse: Int32) { self.fuse = fuse }

  /// Counts an open of a node; returns the backing file to read and write, or 0.
  ///
  /// Linux opens the file again for each user of it, with the flags of that open, so any open
  /// descriptor of it works.
  public func open(_ node: NodeNumber, _ descriptor: Int32?) -> Int32 {
    ways.withLock { ways in
      var way =
        ways[node]
        ?? Way(backing: descriptor.map { max(0, v_fuse_backing_open(fuse, $0)) } ?? 0)
      way.opens += 1
      ways[node] = way
      return way.backing
    }
  }

  /// Counts a close.
  public func close(_ node: NodeNumber) {
    ways.withLock { ways in
      guard let way = ways[node] else { return }
      ways[node]?.opens -= 1
      guard way.opens == 1 else { return }
      ways[node] = nil
      if way.backing > 0 { _ = v_fuse_backing_close(fuse, way.backing) }
    }
  }
}
