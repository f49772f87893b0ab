import VProtocol
import VTransport

/// Answers of a group's members that come one after another (DRT): RFC 1045 2.13.
///
/// A client that wants the answers of all members could not hold them if they came at once. Each
/// member's kernel therefore waits for a random time before it gives the request to the member, or
/// repeats an answer.
extension Kernel {
  /// The time over which the answers to this kernel's client are to be spread; nil in a small
  /// cluster, where waiting only costs time.
  func spread(of server: EntityID) -> TimeSpan? {
    server.isGroup && peers.count >= Timing.crowd ? Timing.spread(kernels: peers.count) : nil
  }

  /// Whether the answer to a request is to be spread.
  static func isSpread(_ header: PacketHeader) -> Bool {
    header.control.contains(.delayResponse) && header.server.isGroup
      && header.mcb.flags.contains(.multipleResponses)
  }

  /// Gives a request to its server, at once or, where it `isSpread`, in a while.
  mutating func invoke(
    _ request: Request, isSpread: Bool, for peer: KernelID, _ step: inout Step
  ) {
    if isSpread && postpone(.invoke(request), for: peer, &step) { return }
    step.append(.invoke(request))
  }

  /// Does `work` in a while; false if the peer has used up its share: then it must be done now.
  mutating func postpone(_ work: Postponed.Work, for peer: KernelID, _ step: inout Step) -> Bool {
    let own = postponed.values.count { $0.peer == peer }
    guard Limits.hasRoom(own, used: postponed.count, of: Limits.postponed) else { return false }
    postponedCount &+= 1
    postponed[postponedCount] = Postponed(work: work, peer: peer)
    let delay = random(below: Timing.spread(kernels: peers.count))
    pushTimer(.postponed(postponedCount), at: step.now + delay)
    return true
  }

  mutating func handlePostponed(_ number: UInt64, _ step: inout Step) {
    switch postponed.removeValue(forKey: number)?.work {
    case .invoke(let request):
      if entities[request.server]?.serverKind != .idempotent {
        // Its client may have gone on meanwhile.
        guard let record = records[RecordKey(request)], record.id == request.transaction,
          record.isProcessing
        else { return }
      }
      step.append(.invoke(request))
    case .answer(let key, let transaction):
      guard let record = records[key], record.id == transaction, let response = record.response
      else { return }
      perform(.respond(response.blocks, acknowledge: false), of: key, &step)
    case nil: break
    }
  }
}

/// What a kernel does in a while for a client that wants many answers.
struct Postponed: Sendable {
  enum Work: Sendable {
    case invoke(Request)
    /// Repeat the kept answer to a request.
    case answer(RecordKey, TransactionID)
  }

  var work: Work
  /// The kernel that sent the request.
  var peer: KernelID
}
