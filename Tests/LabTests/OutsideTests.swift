import Foundation
import Testing

extension LabTests {
  @Suite("A server and a client that are no part of V", .tags(.mount))
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

    @Test("one that v serve started ends with it, however that ended, and is started anew")
    func together() async throws {
      let host = try await Lab.shared().shell(on: "moa")
      let outcome = try host.run(
        """
        start() { v serve --prefix ram/moa -- v serve ram 2>/run/ram.log & serve=$!
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
