import Glibc
import Synchronization
import VNode
import VProtocol

extension Configuration {
  /// A key with another value than before.
  struct Change {
    var isLive: Bool
    /// The line that holds from now on, or from the next start on.
    var text: String
  }

  /// The keys that have other values in another configuration.
  func changes(to new: Configuration) -> [Change] {
    var changes = ConfigurationKey<Configuration>.all.compactMap { key -> Change? in
      guard key.show(self) != key.show(new) else { return nil }
      return Change(isLive: key.isLive, text: key.line(of: new))
    }
    let before = exports.map(\.lines)
    changes += new.exports.filter { !before.contains($0.lines) }.map {
      Change(isLive: true, text: "export \($0.lines.joined(separator: ", "))")
    }
    let after = new.exports.map(\.prefix)
    changes += exports.filter { !after.contains($0.prefix) }.map {
      Change(isLive: true, text: "export \($0.prefix) is not served any more")
    }
    return changes
  }

  /// Copies the keys that a running node can change.
  mutating func takeLiveKeys(of new: Configuration) {
    peers = new.peers
    run = new.run
    guestUser = new.guestUser
    forgetDays = new.forgetDays
    logLevel = new.logLevel
    exports = new.exports
  }
}

extension Configuration.Export {
  fileprivate var lines: [String] {
    ConfigurationKey<Self>.all.compactMap { key in
      key.show(self).map { "\(key.name) = \($0)" }
    }
  }
}

/// The configured peers for display; they change when the configuration is read again.
final class ShownPeers: Sendable {
  private let state: Mutex<[String]>

  init(_ peers: [Locator]) { state = Mutex(peers.map(\.description)) }

  var texts: [String] { state.withLock { $0 } }

  func set(_ peers: [Locator]) { state.withLock { $0 = peers.map(\.description) } }
}

/// By this time systemd matches the notification with its reload.
func monotonicMicroseconds() -> Int64 {
  var now = timespec()
  clock_gettime(CLOCK_MONOTONIC, &now)
  return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
}
