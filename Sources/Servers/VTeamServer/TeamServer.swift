import Synchronization
public import VObjects
public import VProtocol
public import VRuntime
public import VStore

/// The manager of this host's programs, found by the prefix `team/<host>`; a member of the program
/// managers' group.
///
/// Beside it, `team/by-id` leads to the programs of all hosts.
///
/// It uses the machine only through `ProgramMachine`, and waits for nothing: a reader that waits
/// for a program is a record.
public final class TeamServer: Sendable {
  public let manager: TreeManager
  private let teams: Teams
  private let links: TreeManager
  /// Nil once the programs of an earlier run have been added; before that, the calls that wait for
  /// it.
  private let waiting = Mutex<[@Sendable () -> Void]?>([])

  /// Adds the programs that an earlier run of the server left.
  ///
  /// `rules` decide who may start programs here.
  public init(_ backplane: any Backplane, _ machine: any ProgramMachine, rules: RunRules) {
    let teams = Teams(backplane, machine, rules)
    self.teams = teams
    manager = TreeManager(
      backplane, teams.root, prefix: "team/\(backplane.host)",
      identify: { rules.caller(of: $0) })
    links = TreeManager(
      backplane, ProgramLinks(backplane, teams.programs).root, prefix: ProgramLinks.prefix)
    machine.recover { [self] found in
      for hosted in found { teams.takeUp(hosted) }
      let waiting = waiting.withLock { $0.take() } ?? []
      for body in waiting { body() }
    }
    let server = backplane.makeServer(knowsPrincipals: true) { [teams, manager] request in
      teams.serve(request, as: manager.server)
    }
    backplane.join(server, group: .programManagerGroup)
  }

  /// Claims the prefix in this host's directory, once the programs of an earlier run are known;
  /// `completion` is called once, and again with `duplicateName` if it is lost to a newer claim.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    let claim: @Sendable () -> Void = { [manager, links] in
      links.claim(in: directory) { _ in }
      manager.claim(in: directory, completion: completion)
    }
    let isReady = waiting.withLock { waiting in
      waiting?.append(claim)
      return waiting == nil
    }
    if isReady { claim() }
  }

  /// Ends all programs, and forgets them.
  public func endPrograms() {
    for program in teams.programs.all { teams.programs.forget(program) }
  }

  /// Instances that are open.
  package var instanceCount: Int { manager.instanceCount }

  /// What users have taken of their shares: programs, and octets of memory.
  package var shareCounts: (programs: Int, octets: Int) { teams.shares.counts }

  /// Reads and writes that have not been answered.
  package var waitCount: Int { manager.waitCount }
}
