import VObjects
import VProtocol
import VRuntime

/// The operations of program managers, which come through their group.
extension TeamBoard {
  func serve(_ request: Request, as server: EntityID) {
    switch request.message.mcb.code {
    case SelectHost.code:
      backplane.serve(SelectHost.self, request) { operation in
        // Who is not willing says nothing, and costs nobody a packet.
        guard !operation.excluded.contains(backplane.host), isWilling(operation, request)
        else { return }
        backplane.reply(
          SelectHost.Answer(
            server: server, loadThousandths: UInt32(clamping: loadThousandths),
            host: backplane.host), to: request)
      }
    case ControlTeam.code:
      backplane.serve(ControlTeam.self, request) { control($0, request) }
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  private func isWilling(_ operation: SelectHost, _ request: Request) -> Bool {
    guard let principal = request.principal,
      (try? rules.user(startingFor: principal)) != nil
    else { return false }
    return operation.programClass != .guest || takesGuests
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
