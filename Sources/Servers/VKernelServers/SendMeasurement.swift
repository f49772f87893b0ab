import Synchronization
import VProtocol
import VRuntime

/// Times Sends to one server, one after another, inside the node.
///
/// A Send that ends without an answer is lost, and the next one follows after a pause; lost packets
/// are not seen here, because the kernel retransmits them. All Sends share one client, one message
/// and one completion, so that a Send allocates nothing here.
final class SendMeasurement: Sendable {
  private struct State: ~Copyable {
    var samples: [UInt32] = []
    var lost: UInt32 = 0
    var code = ReplyCode.ok
    var sentAt: Time
    var sent: Completion?
    var ended: (@Sendable (MeasureSends.Answer) -> Void)?
  }

  private let backplane: any Backplane
  private let target: EntityID
  private let count: Int
  private let deadline: Time
  private let client: EntityID
  private let message: Message
  private let state: Mutex<State>

  /// The pause after a lost Send: a silent host is asked as often as its kernel asks it.
  private static let pause = TimeSpan.milliseconds(100)

  init(
    _ backplane: any Backplane, _ operation: MeasureSends, to target: EntityID,
    until deadline: Time
  ) {
    self.backplane = backplane
    self.target = target
    count = Int(operation.count)
    self.deadline = deadline
    let (requestBytes, answerBytes) = (operation.requestBytes, operation.answerBytes)
    message =
      requestBytes + answerBytes == 0
      ? PingNode().message
      : EchoSegment(
        answerBytes: answerBytes, data: [UInt8](repeating: 0x56, count: requestBytes)
      ).message
    client = backplane.makeClient(user: "nobody")
    state = Mutex(State(sentAt: backplane.now))
  }

  /// `completion` is called once, when all Sends are made or the time is over.
  func start(completion: @escaping @Sendable (MeasureSends.Answer) -> Void) {
    state.withLock { state in
      state.samples.reserveCapacity(count)
      state.sent = { [self] response in handle(response) }
      state.ended = completion
    }
    send()
  }

  private func send() {
    let now = backplane.now
    let completion = state.withLock { state in
      state.sentAt = now
      return state.sent
    }
    guard let completion else { return }
    guard now < deadline else { return end(.userTimeout) }
    // Whatever it is that is measured: the wait has an end, and holds up nothing.
    backplane.send(
      message, PartySend(.node, to: .measured), from: client, to: target,
      options: SendOptions(timeLimit: deadline - now), completion: completion)
  }

  private func handle(_ response: Response) {
    let now = backplane.now
    let isAnswered = response.server != .none
    let isDone = state.withLock { state in
      if isAnswered {
        state.samples.append(UInt32(clamping: (now - state.sentAt).nanoseconds))
      } else {
        state.lost += 1
        state.code = response.code
      }
      return state.samples.count + Int(state.lost) >= count
    }
    if isDone || response.code == .nonexistentEntity && !isAnswered {
      end(nil)
    } else if isAnswered {
      send()
    } else {
      backplane.after(Self.pause) { [self] in send() }
    }
  }

  private func end(_ code: ReplyCode?) {
    let (answer, ended) = state.withLock { state in
      let answer = MeasureSends.Answer(
        samples: &state.samples, lost: state.lost, code: code ?? state.code)
      state.sent = nil
      return (answer, state.ended.take())
    }
    backplane.retire(client)
    ended?(answer)
  }
}
