import Synchronization
package import VProtocol
import VStore

/// The shares of principals in a team server: programs, and octets of memory for requests, programs
/// and open files of processes.
package final class TeamShares: Sendable {
  private struct State: Sendable {
    var programs: Shares
    var octets: Shares
  }

  private let state: Mutex<State>
  private let host: String

  /// One user's quarter is sixteen of the largest files of a process, or two requests of the
  /// largest size.
  private static let octetsMax = 64 << 20

  package init(host: String) {
    self.host = host
    state = Mutex(
      State(
        programs: Shares(capacity: ProgramOrder.programsMax, ownHost: host),
        octets: Shares(capacity: Self.octetsMax, ownHost: host)))
  }

  /// Takes room for `principal`, until the result is freed; refuses a principal that has used up
  /// its share.
  ///
  /// With `isTaken` the room is in use already, and is only counted.
  package func take(
    programs: Int = 0, octets: Int, by principal: Principal, isTaken: Bool = false
  ) throws(Refusal) -> TakenShare {
    let refusal: String? = state.withLock { state in
      if isTaken {
        state.programs.add(principal, programs)
        state.octets.add(principal, octets)
        return nil
      }
      guard state.programs.take(principal, programs) else {
        return
          "\(principal) has as many programs on \(host) as one user, host or all of them may have"
      }
      guard state.octets.take(principal, octets) else {
        state.programs.give(principal, programs)
        return
          "requests, programs and open files of \(principal) hold as much memory on \(host) as "
          + "those of one user, host or all of them may hold"
      }
      return nil
    }
    if let refusal { throw Refusal(.noServerResources, refusal) }
    return TakenShare { [self] in
      state.withLock { state in
        state.programs.give(principal, programs)
        state.octets.give(principal, octets)
      }
    }
  }

  /// Octets taken, and programs: for tests.
  package var counts: (programs: Int, octets: Int) {
    state.withLock { ($0.programs.count, $0.octets.count) }
  }
}

/// A part of a share; given back when it is freed.
package final class TakenShare: Sendable {
  private let giveBack: @Sendable () -> Void
  init(_ giveBack: @escaping @Sendable () -> Void) { self.giveBack = giveBack }
  deinit { giveBack() }
}
