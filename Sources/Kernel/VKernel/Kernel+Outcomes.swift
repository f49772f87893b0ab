import VProtocol
import VTransport

/// What became of the requests of a kernel that has ended.
///
/// A node that was killed and started again has a new kernel. Its mount goes on, and may have to
/// know whether what was under way has been done.
extension Kernel {
  /// Keeps the latest outcomes of a kernel's requests for the kernel that has taken its place, at
  /// that one's cost, and drops its other records.
  mutating func keepOutcomes(of kernel: KernelID, for successor: KernelID, at now: Time) {
    handOver(from: kernel, at: now)
    let entries = (peers[kernel]?.records ?? []).map { ($0, records[$0]?.wakeAt ?? now) }
    var kept = 0
    for (key, _) in entries.sorted(by: { ($0.1, $0.0) > ($1.1, $1.0) }) {
      guard kept < Limits.outcomes, key.member == .none, self.kernel(of: key.client) == kernel,
        records[key]?.handleClientEnded(successor: successor, at: now) == true
      else {
        records[key] = nil
        continue
      }
      kept += 1
      withPeer(successor, at: now) { _ = $0.records.insert(key) }
      armRecord(key)
    }
  }

  /// The requests that the kernel only forwarded are those of their clients, which live.
  private mutating func handOver(from kernel: KernelID, at now: Time) {
    for key in (peers[kernel]?.records ?? []).sorted() {
      let home = self.kernel(of: key.client)
      guard home != kernel, home != id, !dead.contains(home), var record = records[key]
      else { continue }
      dropRecord(key)
      record.peer = home
      if addRecord(record, key, of: home, at: now) { armRecord(key) }
    }
  }

  /// Answers what became of a request, to the node management of a kernel of the same host.
  mutating func answerOutcome(
    _ header: PacketHeader, from peer: KernelID, _ step: inout Step
  ) {
    let query = QueryOutcome(parsing: header.mcb)
    let key = RecordKey(client: query.client, member: .none)
    guard let record = records[key], let host = record.principal?.host,
      host == peers[peer]?.host, let locator = peers[peer]?.locator
    else { return refuse(header, .outcomeUnknown, to: peer, &step) }
    answer(header, records[key]!.outcome(of: query.transaction), to: peer, at: locator, &step)
  }
}
