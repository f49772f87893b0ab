import Synchronization
import VProtocol
import VRuntime

/// A file that is opened by its name, and opened again whenever its instance or its server was
/// lost.
///
/// One request at a time; each is repeated until it is answered or the outage lasts too long, so
/// repeating it must have no further effect.
final class LastingFile: Sendable {
  private struct Opened {
    var instance: InstanceID
    var manager: EntityID
  }

  private let place: ConversationPlace
  private let outage: Outage
  private let name: ContextName
  private let mode: OpenMode
  /// The maker of the file retires it.
  let client: EntityID
  private let opened = Mutex<Opened?>(nil)

  init(_ place: ConversationPlace, _ outage: Outage, _ path: String, _ mode: OpenMode) {
    self.place = place
    self.outage = outage
    self.mode = mode
    name = ContextName(place.root, Array(path.utf8))
    client = place.backplane.makeClient(place.user)
  }

  func send<Op: Operation>(
    _ operation: @escaping @Sendable (InstanceID) -> Op,
    completion: @escaping @Sendable (Result<Op.Answer, Refusal>) -> Void
  ) {
    guard let opened = opened.withLock({ $0 }) else {
      return open { [self] refusal in
        if let refusal { return completion(.failure(refusal)) }
        send(operation, completion: completion)
      }
    }
    request(operation(opened.instance), of: opened.manager) { [self] outcome in
      switch outcome {
      case .success(let (answer, _)): completion(.success(answer))
      case .failure(let refusal):
        let isOver = again(after: refusal) { [self] in
          self.opened.withLock { $0 = nil }
          send(operation, completion: completion)
        }
        if isOver { completion(.failure(refusal)) }
      }
    }
  }

  private func open(_ completion: @escaping @Sendable (Refusal?) -> Void) {
    request(CreateInstance(name, mode: mode), of: place.directory) { [self] outcome in
      switch outcome {
      case .success(let (answer, manager)):
        opened.withLock { $0 = Opened(instance: answer.instance, manager: manager) }
        completion(nil)
      case .failure(let refusal):
        let isOver = again(after: refusal) { [self] in open(completion) }
        if isOver { completion(refusal) }
      }
    }
  }

  /// True, and nothing is done, if the refusal is final.
  private func again(after refusal: Refusal, _ body: @escaping @Sendable () -> Void) -> Bool {
    guard Outage.isLoss(refusal.code), outage.handleLoss(at: place.backplane.now) else {
      return true
    }
    place.backplane.after(Outage.pause, body)
    return false
  }

  private func request<Op: Operation>(
    _ operation: Op, of server: EntityID,
    _ completion: @escaping @Sendable (Result<(Op.Answer, EntityID), Refusal>) -> Void
  ) {
    place.backplane.send(operation, from: client, to: server) { [outage] answer in
      switch answer {
      case .done(let value, let server):
        outage.handleAnswer()
        completion(.success((value, server)))
      case .refused(let refusal): completion(.failure(refusal))
      }
    }
  }
}
