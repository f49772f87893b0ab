import NetworkFaults
import Replaying
import Testing
import VNode
import VProtocol
import VRecording
import VRuntime

/// How many records of each kind a fresh kernel has replayed without a difference.
@discardableResult
func replay(_ recording: [UInt8]) throws -> [KernelRecord.Kind: Int] {
  var replay = try Replay(recording)
  var counts: [KernelRecord.Kind: Int] = [:]
  while let record = try replay.next() { counts[record.kind, default: 0] += 1 }
  return counts
}

/// The failure of a replay, or nil.
private func refusal(of recording: [UInt8]) -> Replay.Failure? {
  do { try replay(recording) } catch { return error as? Replay.Failure }
  return nil
}

@Suite("Recordings in the simulator")
struct ReplayTests {
  /// Where each record starts, and its kind.
  private func records(of recording: [UInt8]) -> [(start: Int, kind: UInt8)] {
    var list: [(Int, UInt8)] = []
    var start = 0
    while start < recording.count {
      list.append((start, recording[start + 4]))
      start += 4 + recording[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) }
    }
    return list
  }

  /// The recordings of a client's host and of a server's, which boots again, on a bad network.
  private func day(seed: UInt64) -> [[UInt8]] {
    let simulator = Simulator(seed: seed)
    simulator.records = true
    simulator.faults = Faults(loss: 20, duplication: 10, reordering: 20)
    let key = [UInt8](repeating: 7, count: 32)
    let kea = simulator.start("kea", secret: key)
    for count in [40, 20] {
      let moa = simulator.start("moa", secret: key)
      moa.announce()
      let (server, _) = startCounter(moa)
      moa.join(server, group: .timeGroup)
      let done = [server, .timeGroup].map { target in
        sendMany(count, from: kea, to: target, bytes: { $0 * 400 }, check: { _, _, _ in })
      }
      simulator.run(for: .seconds(100)) { done.allSatisfy { $0.value >= count / 2 } }
      simulator.crash("moa")
      simulator.run(for: .seconds(5))
    }
    return simulator.recordings.map(\.octets)
  }

  @Test("a day with loss and a reboot enters fresh kernels, which do the same", arguments: seeds)
  func replays(seed: UInt64) throws {
    let recordings = day(seed: seed)
    #expect(recordings.count == 3)
    for recording in recordings {
      let counts = try replay(recording)
      #expect(counts.values.reduce(1, +) == records(of: recording).count)
      #expect((counts[.transmit] ?? 0) > 20 && (counts[.packet] ?? 0) > 20)
    }
    let kea = try replay(recordings[0])
    #expect((kea[.send] ?? 0) > 30 && (kea[.complete] ?? 0) > 30 && (kea[.timers] ?? 0) > 10)
    let moa = try replay(recordings[1])
    #expect((moa[.invoke] ?? 0) > 20 && (moa[.reply] ?? 0) > 20)
  }

  @Test("what happens to many clients at once has the same order in every kernel")
  func order() throws {
    let simulator = Simulator(seed: 1)
    simulator.records = true
    let key = [UInt8](repeating: 7, count: 32)
    let older = simulator.start("kea", on: "copy", secret: key)
    simulator.run(for: .seconds(1))
    let (kea, moa) = (simulator.start("kea", secret: key), simulator.start("moa", secret: key))
    simulator.partition("copy", "kea")
    let silent = moa.makeServer(knowsPrincipals: true) { _ in }
    let ended = Shared(0)
    for _ in 0..<40 {
      kea.send(
        Message(MessageControlBlock(code: 0x7701)), from: kea.makeClient(user: "ann"), to: silent,
        options: SendOptions()
      ) { _ in ended.value += 1 }
    }
    simulator.run(for: .seconds(1))
    #expect(ended.value == 0)
    // An older host has the name of kea, which leaves the others.
    simulator.heal()
    older.announce()
    simulator.run(for: .seconds(1))
    #expect(kea.nameHolder?.kernel == older.id && ended.value == 40)
    for recording in simulator.recordings { try replay(recording.octets) }
  }

  @Test("an action that differs is reported, with its number and its time")
  func difference() throws {
    let recording = day(seed: 1)[0]
    let records = records(of: recording)
    let actions = records.indices.filter { records[$0].kind == KernelRecord.Kind.transmit.rawValue }
    let index = actions[actions.count / 2]
    let end = index + 1 < records.count ? records[index + 1].start : recording.count
    let time = recording[(records[index].start + 9)..<(records[index].start + 17)]
    // The last octet is one of the packet's header.
    var tampered = recording
    tampered[end - 1] ^= 1
    let failure = try #require(refusal(of: tampered))
    #expect(failure.record == index + 1)
    #expect(failure.time.nanoseconds == time.reduce(0) { $0 << 8 | Int64($1) })
    #expect(failure.reason.hasPrefix("recorded: transmit "))
  }

  @Test("a kernel that does something else is reported at the first action that shows it")
  func otherKernel() throws {
    // It draws other numbers for its transactions.
    var recording = day(seed: 1)[0]
    recording[4 + 13 + 16] ^= 1
    let failure = try #require(refusal(of: recording))
    #expect(failure.record > 1 && failure.reason.contains("replayed: "))
    // A record that is missing is the kernel's own action too many.
    recording = day(seed: 1)[0]
    let records = records(of: recording)
    let index = try #require(
      records.firstIndex { $0.kind == KernelRecord.Kind.complete.rawValue })
    recording.removeSubrange(records[index].start..<records[index + 1].start)
    #expect(refusal(of: recording)?.record == index + 1)
  }

  @Test("octets that are no recording, or the half of one, are an error")
  func malformed() throws {
    let recording = day(seed: 1)[0]
    let starts = Set(records(of: recording).map(\.start))
    #expect(refusal(of: [])?.record == 1)
    for end in 1..<4000 where !starts.contains(end) {
      #expect(refusal(of: Array(recording[..<end])) != nil, "\(end) octets")
    }
    // What no node does: an entity that does not exist sends; time goes back; a field is missing.
    #expect(refusal(of: Array(recording.dropFirst(1)))?.record == 1)
    let send = try #require(
      records(of: recording).first { $0.kind == KernelRecord.Kind.send.rawValue }?.start)
    for offset in [4, 9, 17] {
      var tampered = recording
      tampered[send + offset] ^= 0x40
      #expect(refusal(of: tampered) != nil, "octet \(offset)")
    }
  }
}
