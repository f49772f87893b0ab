import Foundation
import Testing
import VFileServer
import VProtocol
import VStore

/// Linux lets a program delay others that open its file.
@Suite("Leases of programs of this host", .serialized)
struct LeaseTests {
  /// F_SETLEASE, which the headers hide.
  private static let setLease: Int32 = 1024

  /// A lease of this process on a file; the signal that Linux sends about it has no effect here.
  private final class Lease {
    private let file: Int32

    init(_ path: String, _ kind: Int32) throws {
      signal(SIGIO, SIG_IGN)
      file = Glibc.open(path, kind == Int32(F_WRLCK) ? O_RDWR : O_RDONLY)
      // Processes that other tests start meanwhile may have the file open for a moment.
      for _ in 0..<5000 where fcntl(file, LeaseTests.setLease, kind) != 0 { usleep(1000) }
      try #require(fcntl(file, LeaseTests.setLease, kind) == 0, "no leases: \(errno)")
    }

    func give() { _ = fcntl(file, LeaseTests.setLease, Int32(F_UNLCK)) }
    deinit { close(file) }
  }

  @Test("block no thread: an opening of the file waits for the lease, and nothing else waits")
  func opens() throws {
    let served = try Served()
    try served.put("x", at: "leased")
    try served.put("y", at: "free")
    let lease = try Lease(served.path + "/leased", Int32(F_WRLCK))
    let open = CreateInstance(served.name("leased"), mode: .read)
    var change = Modification()
    change.size = 0
    let cut = ModifyObject(served.name("leased"), change)
    let waiting = (0..<10).flatMap { _ in
      [open.message, cut.message].map {
        served.backplane.begin($0, to: served.manager, as: Served.local)
      }
    }
    #expect(served.code(CreateInstance(served.name("free"), mode: .read)) == .ok)
    let make = AddName(served.name("d"), kind: .context, permissions: 0o755)
    #expect(served.code(make) == .ok)
    for _ in 0..<5 {
      served.backplane.runTimers()
      usleep(1000)
    }
    #expect(waiting.allSatisfy { served.backplane.reply(to: $0) == nil })
    lease.give()
    for client in waiting {
      #expect(served.backplane.runTimers(untilReplyTo: client)?.reply == .ok)
    }
  }

  @Test("delay an opening for a minute, then it is refused")
  func refusal() throws {
    let served = try Served()
    try served.put("x", at: "leased")
    let lease = try Lease(served.path + "/leased", Int32(F_RDLCK))
    let client = served.backplane.begin(
      CreateInstance(served.name("leased"), mode: .write).message, to: served.manager,
      as: Served.local)
    #expect(served.backplane.runTimers(untilReplyTo: client)?.reply == .wouldBlock)
    #expect(served.code(CreateInstance(served.name("leased"), mode: .read)) == .ok)
    let mode: OpenMode = [.write, .nonBlocking]
    #expect(served.code(CreateInstance(served.name("leased"), mode: mode)) == .wouldBlock)
    lease.give()
    var seconds = 0.0
    var count = 0
    while let pause = FileServer.pause(after: count) {
      seconds += Double(pause.nanoseconds) / 1e9
      count += 1
    }
    #expect((55...75).contains(seconds))
  }

  @Test("only files are cut to a size, and nothing is opened for that")
  func sizes() throws {
    let served = try Served()
    mkfifo(served.path + "/fifo", 0o666)
    mkdir(served.path + "/d", 0o777)
    var change = Modification()
    change.size = 0
    #expect(served.code(ModifyObject(served.name("fifo"), change)) == .badArguments)
    #expect(served.code(ModifyObject(served.name("d"), change)) == .isContext)
  }
}
