import Foundation
import Testing

extension LabTests {
  @Suite("A server and a client outside of V", .tags(.mount))
  struct OutsideTests {
    /// Where `Tests/check` builds the package `Tests/Outside`.
    private static let products = Lab.root + "/Tests/Outside/.build/debug"

    @Test(
      "are built from its libraries; the server starts when it is used, and again when it died",
      .enabled(
        if: FileManager.default.fileExists(atPath: products + "/board"),
        "build it first: swift build --package-path Tests/Outside"))
    func board() async throws {
      let lab = try await Lab.shared()
      let host = try lab.shell(on: "moa")
      _ = try host.run(
        """
        v serve --prefix board/moa -- \(Self.products)/board 2>/run/board.log & serve=$!
        await grep -q ready /run/board.log
        """)
      defer { _ = try? host.run("kill $serve; wait $serve") }
      let first = try await lab.bash(
        on: "kea", as: "ann",
        """
        await '[[ -d /v/board ]]'
        echo 'gone to lunch' >/v/board/moa/notes && cat /v/board/moa/notes; ls /v/board
        """)
      #expect(first.output == "ann@kea: gone to lunch\nany\nmoa\n", "\(first.summary)")
      let posted = try await lab.run(
        on: "kea", as: "ann", [Self.products + "/post", "board/moa/notes", "back again"])
      #expect(
        posted.output == "ann@kea: gone to lunch\nann@kea: back again\n", "\(posted.summary)")
      let again = try host.run(
        """
        pid=$(pgrep -P $serve -x board) && kill -9 $pid
        await grep -q "'killed by KILL'" /run/board.log
        await '(($(grep -c ready /run/board.log) == 2))'
        echo hello >/v/board/moa/notes && cat /v/board/moa/notes
        """)
      #expect(again.output == "root@moa: hello\n", "\(again.output)")
    }

    @Test(
      "a message process does one thing at a time, without a lock, and goes on where it ended",
      .enabled(
        if: FileManager.default.fileExists(atPath: products + "/tickets"),
        "build it first: swift build --package-path Tests/Outside"))
    func tickets() async throws {
      let lab = try await Lab.shared()
      let host = try lab.shell(on: "moa")
      let serve = "\(Self.products)/tickets /run/tickets >/run/tickets.log & serve=$!"
      _ = try host.run("rm -f /run/tickets; \(serve)\nawait grep -q ready /run/tickets.log")
      defer { _ = try? host.run("kill $serve; wait $serve; rm -f /run/tickets") }
      let taken = try await lab.bash(
        on: "kea", as: "ann",
        """
        for n in 1 2 3 4; do
          (for m in 1 2 3 4 5; do \(Self.products)/tickets take moa; done) & takers+=($!)
        done
        wait "${takers[@]}"
        """, limit: .seconds(60))
      let numbers = taken.output.split(separator: "\n").compactMap { Int($0) }
      #expect(numbers.sorted() == Array(1...20), "\(taken.summary)")
      _ = try host.run(
        "kill -9 $serve; wait $serve; \(serve)\nawait grep -q ready /run/tickets.log")
      let next = try await lab.run(on: "kea", [Self.products + "/tickets", "take", "moa"])
      #expect(next.output == "21\n", "\(next.summary)")
    }

    @Test("one that v serve started ends with it, however that ended, and is started anew")
    func together() async throws {
      let host = try await Lab.shared().shell(on: "moa")
      let outcome = try host.run(
        """
        start() { rm -f /run/ram.log
          v serve --prefix ram/moa -- v serve ram 2>/run/ram.log & serve=$!
          await grep -q ready /run/ram.log; ls /v/ram/moa && pid=$(pgrep -P $serve); }
        gone() { await '! kill -0 $pid' && echo gone; } 2>/dev/null
        start; kill -9 $serve; wait $serve 2>/dev/null; gone
        start; kill $serve; wait $serve; echo $?; gone; rm /run/ram.log; v forget ram/moa
        """, limit: .seconds(20))
      #expect(
        outcome.output.hasSuffix("gone\n0\ngone\nram/moa is forgotten\n"), "\(outcome.output)")
    }
  }
}
