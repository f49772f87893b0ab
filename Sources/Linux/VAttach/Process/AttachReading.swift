import Synchronization
import VLoop
import VProtocol
import VRuntime

/// Handles frames of the node, and asks it.
extension AttachedBackplane {
  /// Asks the node to make something and waits for its answer.
  ///
  /// The loop's thread may ask too: it then reads the socket itself, and handles other frames
  /// later, so that no handler runs inside another one.
  func ask(
    _ procedure: Procedure?, makesEntity: Bool = true, _ frame: (UInt32) -> AttachFrame
  ) -> Answer<EntityID> {
    let mailbox = Mailbox<Answer<EntityID>>()
    order.withLock { _ in
      let token: UInt32? = state.withLock { state in
        guard !state.isDetached else { return nil }
        let token = state.nextToken
        state.nextToken &+= 1
        state.questions[token] = Question(
          procedure: procedure, makesEntity: makesEntity, answer: mailbox)
        return token
      }
      guard let token else { return mailbox.put(.refused(.retransmissionTimeout)) }
      socket.send(frame(token))
    }
    if loop.isCurrent { readUntil { mailbox.isFull } }
    return mailbox.wait()
  }

  /// Handles the frames that have come, in order.
  func drain() {
    while true {
      switch socket.receive() {
      case .frame(let frame): dispatch(frame)
      case .nothing: return
      // A node that sends unknown frames is treated as ended.
      case .end, .noFrame: return detach()
      }
      drainBacklog()
    }
  }

  func drainBacklog() {
    while true {
      let frame: AttachFrame? = state.withLock { state in
        state.backlog.isEmpty ? nil : state.backlog.removeFirst()
      }
      guard let frame else { return }
      dispatch(frame)
    }
  }

  private func readUntil(_ isDone: () -> Bool) {
    while !isDone() {
      switch socket.receive() {
      case .frame(let frame):
        switch frame {
        case .made, .refused: dispatch(frame)
        default: state.withLock { $0.backlog.append(frame) }
        }
      case .nothing: _ = socket.wait(milliseconds: -1)
      case .end, .noFrame: return detach()
      }
    }
  }

  private func dispatch(_ frame: AttachFrame) {
    switch frame {
    case .made(let token, let entity):
      let question = state.withLock { state in
        let question = state.questions.removeValue(forKey: token)
        // Before any frame for the new entity is read.
        if question?.makesEntity == true { state.entities.insert(entity) }
        if let procedure = question?.procedure { state.procedures[entity] = procedure }
        return question
      }
      question?.answer.put(.done(entity, by: .manager(of: kernel)))
    case .refused(let token, let code):
      state.withLock { $0.questions.removeValue(forKey: token) }?.answer.put(.refused(code))
    case .complete(let client, let response):
      let transaction = state.withLock { state in
        let transaction = state.transactions[client]
        let isLast = transaction?.collectsResponses != true || response.server == .none
        if isLast { state.transactions[client] = nil }
        return transaction
      }
      transaction?.completion(response)
    case .invoke(let request):
      state.withLock { $0.procedures[request.server] }?(request)
    case .makeClient, .makeServer, .join, .retire, .send, .datagram, .reply, .forward, .welcome:
      detach()
    }
  }

  /// The node has ended, or was left: everything that waits for it is completed.
  func detach() {
    loop.unwatch(socket.descriptor)
    let (transactions, questions, observer) = state.withLock { state in
      state.isDetached = true
      state.procedures = [:]
      defer {
        state.transactions = [:]
        state.questions = [:]
      }
      return (
        Array(state.transactions.values), Array(state.questions.values), state.observer.take()
      )
    }
    for question in questions { question.answer.put(.refused(.retransmissionTimeout)) }
    for transaction in transactions {
      transaction.completion(
        Response(server: .none, message: Message(reply: .retransmissionTimeout)))
    }
    observer?()
  }
}
