public import VProtocol

/// The skeleton of a manager: parses a request as an operation and answers it.
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

  public func refuse(_ code: ReplyCode, _ request: Request) {
    reply(Message(reply: code), to: request)
  }
}
