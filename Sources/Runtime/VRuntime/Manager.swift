public import VProtocol

/// The frame of a manager: parses a request as an operation and answers it.
extension Backplane {
  /// Parses `request` as `Op` and calls `body`; a request that does not parse is answered with
  /// `badArguments`.
  public func serve<Op: Operation>(
    _ type: Op.Type, _ request: Request, _ body: (Op) -> Void
  ) {
    do throws(WireError) {
      body(try Op(parsing: request.message))
    } catch {
      reply(Message(reply: .badArguments), to: request)
    }
  }

  public func reply(_ answer: some OperationAnswer, to request: Request) {
    reply(answer.message, to: request)
  }

  /// Answers ListInstances from the lines behind a start, without their newlines, each with the
  /// start of the next; from a lazy sequence it makes only the lines of the answer.
  public func serveInstances<Lines: Sequence>(
    _ request: Request, _ lines: (_ start: UInt64) -> Lines
  ) where Lines.Element == (next: UInt64, line: String) {
    serve(ListInstances.self, request) { operation in
      var answer = ListInstances.Answer(next: operation.start, data: [])
      for (next, line) in lines(operation.start) {
        guard answer.data.count + line.utf8.count < Message.segmentBytesMax else { break }
        answer.data += Array(line.utf8) + [UInt8(ascii: "\n")]
        answer.next = next
      }
      reply(answer, to: request)
    }
  }

  public func refuse(_ code: ReplyCode, _ request: Request) {
    reply(Message(reply: code), to: request)
  }
  public func refuse(_ refusal: Refusal, _ request: Request) {
    reply(refusal.message, to: request)
  }
}
