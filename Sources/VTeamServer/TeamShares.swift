import Synchronization
import VObjects
import VProtocol

/// What each user has of a team server's room: programs, and octets of memory that requests,
/// programs and open files of processes hold.
///
/// Shares have two levels, user and host, and strangers together never touch what is left to this
/// host's own users; root of this host is bounded by the machine alone.
final class TeamShares: Sendable {
  private struct State: Sendable {
    var programs = Share(.programs)
    var octets = Share(.octets)
  }

  private let host: String
  private let state = Mutex(State())

  init(host: String) { self.host = host }

  /// Takes room for `principal`, until what is given is let go; refuses who has had their share.
  ///
  /// With `isTaken` it is so already, and only counted.
  func take(
    programs: Int = 0, octets: Int, by principal: Principal, isTaken: Bool = false
  ) throws(Refusal) -> TakenShare {
    let payer = payer(principal)
    let refusal: String? = state.withLock { state in
      if !isTaken, !state.programs.fits(programs, payer) {
        return "\(principal) has as many programs here as one user, host or all of them may have"
      }
      if !isTaken, !state.octets.fits(octets, payer) {
        return
          "requests, programs and open files of \(principal) hold as much memory here as those "
          + "of one user, host or all of them may hold"
      }
      state.programs.add(programs, payer)
      state.octets.add(octets, payer)
      return nil
    }
    if let refusal { throw Refusal(.noServerResources, refusal) }
    return TakenShare { [self] in
      state.withLock { state in
        state.programs.add(-programs, payer)
        state.octets.add(-octets, payer)
      }
    }
  }

  /// All numbers without names of a host pay together: a container makes as many as it likes.
  private func payer(_ principal: Principal) -> Share.Payer {
    Share.Payer(
      user: principal.user.hasPrefix("#") ? "#" : principal.user,
      host: principal.host == host ? nil : principal.host)
  }

  /// Octets taken, and programs: for those who look from outside.
  var counts: (programs: Int, octets: Int) {
    state.withLock { ($0.programs.total, $0.octets.total) }
  }
}

/// A part of a share; given back when it is let go.
final class TakenShare: Sendable {
  private let giveBack: @Sendable () -> Void
  init(_ giveBack: @escaping @Sendable () -> Void) { self.giveBack = giveBack }
  deinit { giveBack() }
}

/// One kind of room and who has how much of it.
struct Share: Sendable {
  struct Payer: Hashable, Sendable {
    var user: String
    /// Nil is this host.
    var host: String?

    /// The machine alone bounds root of this host, who is the one to mend things.
    var isOwnRoot: Bool { host == nil && user == "root" }
  }

  struct Bounds: Sendable {
    var user: Int
    /// All users of one other host.
    var host: Int
    /// All users of all other hosts.
    var strangers: Int
    /// All but root of this host.
    var all: Int
  }

  private let bounds: Bounds
  private var users: [Payer: Int] = [:]
  private var hosts: [String: Int] = [:]
  private var strangers = 0
  private var all = 0
  private(set) var total = 0

  init(_ bounds: Bounds) { self.bounds = bounds }

  func fits(_ amount: Int, _ payer: Payer) -> Bool {
    if amount == 0 || payer.isOwnRoot { return true }
    guard users[payer, default: 0] + amount <= bounds.user, all + amount <= bounds.all else {
      return false
    }
    guard let host = payer.host else { return true }
    return hosts[host, default: 0] + amount <= bounds.host
      && strangers + amount <= bounds.strangers
  }

  mutating func add(_ amount: Int, _ payer: Payer) {
    total += amount
    if payer.isOwnRoot { return }
    all += amount
    users[payer, default: 0] += amount
    if users[payer] == 0 { users[payer] = nil }
    guard let host = payer.host else { return }
    strangers += amount
    hosts[host, default: 0] += amount
    if hosts[host] == 0 { hosts[host] = nil }
  }
}

extension Share.Bounds {
  /// A program has a keeper, which is a process of some megabytes: 256 of them are 2 GB at the
  /// worst. The machine has 1,024, of which an eighth is root's, to mend things with.
  static let programs = Share.Bounds(user: 256, host: 384, strangers: 512, all: 896)
  /// Sixteen of the largest files of a process, or sixty requests of the largest size.
  static let octets = Share.Bounds(
    user: 16 << 20, host: 24 << 20, strangers: 32 << 20, all: 128 << 20)
}
