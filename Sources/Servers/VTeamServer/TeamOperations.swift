import VObjects
import VProtocol
import VRuntime

/// The operations of program managers, which arrive through their group.
extension Teams {
  func serve(_ request: Request, as server: EntityID) {
    switch request.message.mcb.code {
    case SelectHost.code:
      backplane.serve(SelectHost.self, request) { operation in
        guard !operation.excluded.contains(backplane.host), let principal = request.principal,
          operation.programClass != .guest || takesGuests
        else { return }
        account(for: principal) { [self] result in
          // A manager that would not start it is silent, which costs no packet.
          guard case .success = result else { return }
          backplane.reply(
            SelectHost.Answer(
              server: server, loadThousandths: UInt32(clamping: loadThousandths),
              host: backplane.host), to: request)
        }
      }
    case ControlTeam.code:
      backplane.serve(ControlTeam.self, request) { control($0, request) }
    case QueryTeam.code:
      backplane.serve(QueryTeam.self, request) { query in
        guard let program = programs[query.program] else {
          return backplane.refuse(.nonexistentEntity, request)
        }
        backplane.reply(
          QueryTeam.Answer(host: backplane.host, name: program.name), to: request)
      }
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  private func control(_ operation: ControlTeam, _ request: Request) {
    guard let program = programs[operation.program] else {
      return backplane.refuse(.nonexistentEntity, request)
    }
    control(program, Array(operation.line.utf8), by: rules.caller(of: request)) {
      [backplane] refusal in
      guard let refusal else { return backplane.reply(Done(), to: request) }
      backplane.reply(refusal.message, to: request)
    }
  }
}
