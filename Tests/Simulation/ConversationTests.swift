import NetworkFaults
import Testing
import VClient
import VDirectory
import VProtocol
import VRuntime
import VStore

/// A client on kea, and a program of moa whose output a test controls.
private final class Talk {
  let simulator: Simulator
  let kea: TeamHost
  var moa: TeamHost
  let program: FakeProgram
  let conversation: ProgramConversation
  let notices: Shared<[OutageNotice]>
  private let name: String

  init(seed: UInt64, wait: Int) throws {
    simulator = Simulator(seed: seed)
    kea = TeamHost("kea", in: simulator)
    moa = TeamHost("moa", in: simulator)
    simulator.run(for: .seconds(1))
    let (_, name) = try #require(kea.start("moa", "attached: yes\nwait: \(wait)\n\nsort"))
    self.name = name
    program = moa.machine.last
    let told = Shared<[OutageNotice]>([])
    notices = told
    conversation = ProgramConversation(
      ConversationPlace(
        kea.node, user: "ann", directory: kea.directory.server,
        root: kea.directory.nameSpace.root),
      host: "moa", program: name, limit: .seconds(Int64(wait)), told: { told.value.append($0) })
  }

  /// The output of a stream so far; nil as long as it has no end.
  func copy(_ stream: String) -> (octets: Shared<[UInt8]>, end: Shared<Result<Void, Refusal>?>) {
    copy(conversation.output(stream))
  }

  func copy(
    _ output: ProgramOutput
  ) -> (octets: Shared<[UInt8]>, end: Shared<Result<Void, Refusal>?>) {
    let (octets, end) = (Shared<[UInt8]>([]), Shared<Result<Void, Refusal>?>(nil))
    @Sendable func next() {
      output.read { result in
        switch result {
        case .success(let more) where more.isEmpty: end.value = .success(())
        case .success(let more):
          octets.value += more
          next()
        case .failure(let refusal): end.value = .failure(refusal)
        }
      }
    }
    next()
    return (octets, end)
  }

  /// Writes pieces one after the other, then the end.
  func feed(_ pieces: [[UInt8]]) -> Shared<Refusal??> {
    let done = Shared<Refusal??>(nil)
    let input = conversation.input()
    @Sendable func next(_ rest: ArraySlice<[UInt8]>) {
      guard let piece = rest.first else { return input.end { done.value = .some($0) } }
      input.write(piece) { refusal in
        if let refusal { done.value = .some(refusal) } else { next(rest.dropFirst()) }
      }
    }
    next(pieces[...])
    return done
  }

  // A waiting call references its node, and the node references the call.
  deinit { conversation.close() }

  func restartMoa() {
    let machine = moa.machine
    simulator.crash("moa")
    simulator.run(for: .milliseconds(700))
    moa = TeamHost("moa", in: simulator, on: machine)
  }
}

@Suite("Conversation with a program")
struct ConversationTests {
  enum Trouble: CaseIterable { case none, loss, shortOutage, longOutage, restart }

  @Test(
    "no octet is lost or doubled, whatever happens to the network or the server",
    arguments: Trouble.allCases, [1, 2, 3] as [UInt64])
  func wholeStreams(trouble: Trouble, seed: UInt64) throws {
    let talk = try Talk(seed: seed, wait: 60)
    let simulator = talk.simulator
    let (out, outEnd) = talk.copy("out")
    let (err, errEnd) = talk.copy("err")
    let pieces = (0..<40).map { number in [UInt8](repeating: UInt8(number), count: 700 + number) }
    let fed = talk.feed(pieces)
    let end = Shared<Result<RunExit, Refusal>?>(nil)
    talk.conversation.end { end.value = $0 }
    if trouble == .loss { simulator.faults = Faults(loss: 20, duplication: 10) }
    var said = ""
    for number in 0..<60 {
      let line = "line \(number)\n"
      said += line
      talk.program.say(line)
      if number % 7 == 0 { talk.program.say("err \(number)\n", .err) }
      simulator.run(for: .milliseconds(Int64(simulator.random() % 40)))
      guard number == 20 else { continue }
      switch trouble {
      case .none, .loss: break
      case .shortOutage, .longOutage:
        simulator.partition("kea", "moa")
        simulator.run(for: .seconds(trouble == .shortOutage ? 4 : 30))
        simulator.heal()
      case .restart: talk.restartMoa()
      }
    }
    #expect(simulator.run(for: .seconds(40)) { fed.value != nil })
    #expect(fed.value == .some(nil))
    #expect(talk.program.input == pieces.flatMap { $0 } && talk.program.isInputEnded)
    #expect(!talk.program.isHungUp)
    talk.program.become(.exited(3))
    #expect(
      simulator.run(for: .seconds(40)) {
        end.value != nil && outEnd.value != nil && errEnd.value != nil
      })
    #expect(try end.value?.get() == .exited(3))
    #expect(String(decoding: out.value, as: UTF8.self) == said)
    #expect(
      String(decoding: err.value, as: UTF8.self)
        == stride(from: 0, to: 60, by: 7).map { "err \($0)\n" }.joined())
    let isTold = trouble != .none && trouble != .loss
    #expect(talk.notices.value.isEmpty == !isTold && talk.notices.value.count % 2 == 0)
    #expect(!talk.conversation.isSilent)
  }

  @Test("who comes late has what is kept, once, also over an outage", arguments: Trouble.allCases)
  func keptOutput(trouble: Trouble) throws {
    let talk = try Talk(seed: 5, wait: 60)
    let simulator = talk.simulator
    talk.program.say("dropped kept ")
    talk.program.keptFrom = 8
    let (out, end) = talk.copy(talk.conversation.keptOutput("out"))
    simulator.run(for: .seconds(1))
    #expect(String(decoding: out.value, as: UTF8.self) == "kept ")
    switch trouble {
    case .none, .loss: break
    case .shortOutage, .longOutage:
      simulator.partition("kea", "moa")
      simulator.run(for: .seconds(trouble == .shortOutage ? 4 : 30))
      talk.program.say("lost meanwhile ")
      talk.program.keptFrom = 13 + 15
      simulator.heal()
    case .restart: talk.restartMoa()
    }
    talk.program.say("more")
    simulator.run(for: .seconds(20))
    talk.program.become(.exited(0))
    simulator.run(for: .seconds(20)) { end.value != nil }
    #expect(String(decoding: out.value, as: UTF8.self) == "kept more")
    #expect((try? end.value?.get()) != nil)
  }

  @Test("an outage that is too long ends it on both sides")
  func tooLong() throws {
    let talk = try Talk(seed: 4, wait: 20)
    let simulator = talk.simulator
    let (_, outEnd) = talk.copy("out")
    simulator.run(for: .seconds(1))
    simulator.partition("kea", "moa")
    // As long as its client may come back, its server does not end it.
    simulator.run(for: .seconds(19))
    #expect(outEnd.value == nil && !talk.program.isHungUp)
    #expect(simulator.run(for: .seconds(10)) { outEnd.value != nil })
    guard case .failure(let refusal)? = outEnd.value else {
      Issue.record("it goes on")
      return
    }
    #expect(refusal.code == .retransmissionTimeout)
    #expect(simulator.run(for: .seconds(30)) { talk.program.isHungUp })
  }

  @Test("without a limit it ends at once, and the program soon")
  func noLimit() throws {
    let talk = try Talk(seed: 5, wait: 0)
    let (_, outEnd) = talk.copy("out")
    talk.simulator.run(for: .seconds(1))
    talk.simulator.partition("kea", "moa")
    #expect(talk.simulator.run(for: .seconds(3)) { outEnd.value != nil })
    #expect(talk.simulator.run(for: .seconds(20)) { talk.program.isHungUp })
    #expect(talk.notices.value.isEmpty)
  }

  @Test("a second outage has its own time limit, even before the first one's is over")
  func twice() throws {
    let talk = try Talk(seed: 6, wait: 30)
    let simulator = talk.simulator
    let (out, _) = talk.copy("out")
    simulator.run(for: .seconds(1))
    for span in [25, 25] as [Int64] {
      simulator.partition("kea", "moa")
      simulator.run(for: .seconds(span))
      simulator.heal()
      talk.program.say("x")
      simulator.run(for: .seconds(4))
    }
    simulator.run(for: .seconds(60))
    #expect(out.value == Array("xx".utf8) && !talk.program.isHungUp)
  }
}
