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

  /// Answers ListInstances from all lines, without their newlines; from a lazy collection it makes
  /// only the lines of the answer.
  public func serveInstances(_ lines: some Collection<String>, _ request: Request) {
    serve(ListInstances.self, request) { operation in
      var octets: [UInt8] = []
      for line in lines.dropFirst(Int(operation.start)) {
        guard octets.count + line.utf8.count < Message.segmentBytesMax else { break }
        octets += Array(line.utf8) + [UInt8(ascii: "\n")]
      }
      reply(ReadInstance.Answer(data: octets), to: request)
    }
  }

  public func refuse(_ code: ReplyCode, _ request: Request) {
    reply(Message(reply: code), to: request)
  }
  public func refuse(_ refusal: Refusal, _ request: Request) {
    reply(refusal.message, to: request)
  }
}
