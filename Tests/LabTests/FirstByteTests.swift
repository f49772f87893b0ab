import Foundation
import Testing

extension LabTests {
  @Suite("One byte from host to host", .tags(.mount))
  struct FirstByteTests {
    static let cat = ["cat", "/v/storage/moa/hello"]

    @Test("a file of one host is read on the other")
    func read() async throws {
      let lab = try await Lab.shared()
      try put("hello from moa\n", on: lab)
      let outcome = try await lab.run(on: "kea", Self.cat)
      #expect(outcome.output == "hello from moa\n", "\(outcome.summary)")
    }

    @Test("a new lab has something to read on every host")
    func greeting() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.run(on: "moa", ["cat", "/v/storage/kea/hello"])
      #expect(outcome.output == "hello from kea\n", "\(outcome.summary)")
    }

    @Test("every host sees the storage of every host", arguments: Lab.hosts)
    func list(host: String) async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.run(on: host, ["ls", "/v/storage"])
      let names = Set(outcome.output.split(separator: "\n").map(String.init))
      #expect(names.subtracting(["self", "any"]) == Set(Lab.hosts), "\(outcome.summary)")
    }

    @Test("a dead node is reported in bounded time, and the next one serves the same mount")
    func outage() async throws {
      let lab = try await Lab.shared()
      try put("hello again\n", on: lab)
      let mount = try await lab.run(on: "kea", ["grep", " /v ", "/proc/self/mountinfo"])
      expectSuccess(mount)
      expectSuccess(try await lab.run(on: "kea", Self.cat))
      try await lab.command("kill", ["moa"])
      // Twice: the first call finds out, the second meets a host that is known to be down.
      for _ in 0..<2 {
        let outcome = try await lab.run(on: "kea", Self.cat)
        #expect(outcome.errors.contains("Host is down"), "\(outcome.summary)")
        #expect(outcome.status == 1)
        // Silence is final after 2 s; the rest allows for a busy machine.
        #expect(outcome.seconds < 10)
      }
      for directory in ["/v", "/v/storage"] {
        let listing = try await lab.run(on: "kea", ["ls", "-l", directory])
        #expect(listing.isSuccess && listing.seconds < 2, "\(listing.summary)")
      }
      // A walk over everything passes the dead host and goes on.
      let walk = try await lab.run(on: "kea", ["find", "/v", "-maxdepth", "3"])
      #expect(walk.output.contains("/v/storage/moa\n"), "\(walk.summary)")
      #expect(walk.output.contains("/v/storage/kea\n"), "\(walk.summary)")
      #expect(walk.errors.contains("Host is down"), "\(walk.summary)")
      #expect(walk.seconds < 10)
      try await lab.command("start", ["moa"])
      let outcome = try await lab.run(on: "kea", Self.cat)
      #expect(outcome.output == "hello again\n", "\(outcome.summary)")
      let mountNow = try await lab.run(on: "kea", ["grep", " /v ", "/proc/self/mountinfo"])
      #expect(mountNow.output == mount.output, "kea's /v was mounted anew")
    }

    @Test("an open file can be read at once after a restart of its host's node")
    func openOverRestart() async throws {
      let lab = try await Lab.shared()
      try put("still here\n", on: lab)
      let signal = "/tmp/v-open-\(UUID().uuidString)"
      defer {
        for end in ["open", "go"] {
          try? FileManager.default.removeItem(atPath: "\(signal).\(end)")
        }
      }
      mkfifo("\(signal).go", 0o600)
      let script = """
        import os, time
        fd = os.open('/v/storage/moa/hello', os.O_RDONLY)
        os.pread(fd, 5, 0)
        open('\(signal).open', 'w').close()
        open('\(signal).go').close()
        start = time.time()
        print(os.pread(fd, 100, 0).decode(), end='')
        print('soon' if time.time() - start < 10 else 'late')
        """
      async let outcome = lab.run(on: "kea", ["python3", "-c", script])
      #expect(try await comes { FileManager.default.fileExists(atPath: "\(signal).open") })
      try await lab.command("kill", ["moa"])
      try await lab.command("start", ["moa"])
      // A FIFO, whose reader goes on when there is a writer; without a reader this fails.
      let isRead = try await comes {
        let writer = open("\(signal).go", O_WRONLY | O_NONBLOCK)
        if writer >= 0 { close(writer) }
        return writer >= 0
      }
      #expect(isRead)
      let read = try await outcome
      #expect(read.output == "still here\nsoon\n", "\(read.summary)")
    }

    private func put(_ text: String, on lab: Lab) throws {
      try text.write(toFile: lab.disk("moa") + "/hello", atomically: false, encoding: .utf8)
    }
  }
}
