import Glibc
import Synchronization
import VClient
import VCommand
import VProtocol
import VRuntime

/// A host's load and free space, for people.
struct HostLook: Sendable {
  var load: String?
  var programs: Int?
  /// The space of `storage/HOST` that users may have.
  var diskBytes: (free: UInt64, all: UInt64)?

  /// Asks all hosts at once; what a host does not answer in time stays nil.
  static func at(
    _ hosts: [String], _ session: Session, _ options: CommonOptions
  ) -> [String: HostLook] {
    let found = Mutex<[String: HostLook]>([:])
    let workers = hosts.map { host in
      Background.start {
        let names = Names(session, options, for: "status", limit: limit)
        let look = HostLook(host, names)
        found.withLock { $0[host] = look }
      }
    }
    for worker in workers { pthread_join(worker, nil) }
    return found.withLock { $0 }
  }

  private static let limit = TimeSpan.milliseconds(500)

  private init(_ host: String, _ names: Names) {
    load = (try? names.lines(of: "host/\(host)/status"))?
      .first { $0.hasPrefix("load ") }?.split(separator: " ").dropFirst().first.map(String.init)
    programs = (try? names.lines(of: "team/\(host)/status"))?
      .first { $0.hasPrefix("programs ") }.flatMap { Int($0.dropFirst("programs ".count)) }
    if let root = try? names.find("storage/\(host)"),
      let store = try? names.ask(about: root, make: { QueryStore($0.name) })
    {
      diskBytes = (
        free: store.blocksAvailable &* UInt64(store.blockSize),
        all: store.blocks &* UInt64(store.blockSize)
      )
    }
  }

  var diskText: String {
    diskBytes.map { "\(Text.bytes($0.free)) of \(Text.bytes($0.all))" } ?? "-"
  }
}
