import Foundation
import Testing

/// A node that records what enters its kernel, and the command that replays it.
@Suite("Recordings of a node")
struct RecordingTests {
  private static let products =
    ProcessInfo.processInfo.environment["V_PRODUCTS"] ?? Lab.root + "/.build/release"

  @Test("vnode --record writes a new file, for root alone, that a fresh kernel replays")
  func record() async throws {
    let script = """
      folder=$(mktemp -d) && cd "$folder" || exit
      trap 'rm -r "$folder"' EXIT
      printf 'host = "kea"\\nmount = ""\\nsocket = "%s/socket"\\n' "$folder" >conf
      "$1/vnode" --config conf --record recording 2>log &
      await grep -q ready log || { cat log; exit 1; }
      "$1/v" ls host/kea --socket socket
      kill $! && wait $!
      stat -c 'mode %a' recording
      "$1/vreplay" recording
      "$1/vreplay" --print recording | grep -c ' send '
      "$1/vnode" --config conf --record recording 2>&1
      printf X | dd of=recording bs=1 seek=60 conv=notrunc status=none
      "$1/vreplay" recording || echo refused
      """
    let outcome = try await Program.run(
      ["bash", "-c", Lab.functions + script, "bash", Self.products], limit: .seconds(60))
    expectSuccess(outcome)
    let lines = outcome.output.split(separator: "\n").map(String.init)
    #expect(lines.contains("status") && lines.contains("mode 600"), "\(outcome.summary)")
    let end = " records, and no difference"
    let replayed = lines.first { $0.hasSuffix(end) }?.dropLast(end.count)
    #expect(replayed.flatMap { Int($0) } ?? 0 > 100, "\(outcome.summary)")
    #expect(lines.contains { Int($0) ?? 0 > 10 }, "\(outcome.summary)")
    #expect(lines.contains { $0.contains("--record recording: File exists") })
    #expect(lines.suffix(2).first?.hasPrefix("FAILED: record ") == true, "\(outcome.summary)")
    #expect(lines.last == "refused")
  }
}
