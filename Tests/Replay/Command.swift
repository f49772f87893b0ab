import Foundation
import Replaying
import VProtocol
import VRecording

/// Replays the recording of a node's kernel (`vnode --record`), and says where this kernel differs.
@main
enum Command {
  static func main() {
    let words = CommandLine.arguments.dropFirst()
    let prints = words.first == "--print"
    guard let path = words.last, words.count == (prints ? 2 : 1) else {
      print("usage: vreplay [--print] RECORDING")
      exit(2)
    }
    guard let recording = FileManager.default.contents(atPath: path) else {
      print("\(path) cannot be read")
      exit(2)
    }
    do throws(Replay.Failure) {
      var replay = try Replay(Array(recording))
      while let record = try replay.next() {
        if prints { print("\(replay.count) \(replay.now.nanoseconds) \(record.text)") }
      }
      print("\(replay.count) records, and no difference")
    } catch {
      print("FAILED: \(error)")
      exit(1)
    }
  }
}
