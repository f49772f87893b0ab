package import ArgumentParser
package import VAttach
package import VProtocol
import VRuntime

package func validateHost(_ name: String) throws {
  guard 1...FindNode.hostBytesMax ~= name.utf8.count, !name.contains("/") else {
    throw ValidationError("'\(name)' is not the name of a host.")
  }
}

extension CompletionKind {
  /// Names of hosts; the listing waits for none of them.
  package static let host = CompletionKind.shellCommand("ls /v/host 2>/dev/null")
}

/// Times Sends from this process, one after another, up to the command's time limit.
package struct AttachedMeasurement {
  private let node: AttachedBackplane
  private let client: EntityID
  private let deadline: Time
  private let count: Int
  private var samples: [UInt32] = []

  package init(_ node: AttachedBackplane, _ client: EntityID, _ options: CommonOptions, count: Int)
  {
    self.node = node
    self.client = client
    self.count = count
    deadline = node.now + .milliseconds(options.timeoutMilliseconds)
    samples.reserveCapacity(count)
  }

  /// Ends early at the first Send that is refused, and at the time limit.
  package mutating func run(to server: EntityID, _ message: () -> Message) -> MeasureSends.Answer {
    var lost: UInt32 = 0
    var code = ReplyCode.ok
    while samples.count < count && lost == 0 {
      let start = node.now
      guard start < deadline else {
        code = .userTimeout
        break
      }
      let response = node.sendAndWait(
        message(), from: client, to: server,
        options: SendOptions(timeLimit: deadline - start))
      if response.server == .none || !response.code.isOK {
        lost = 1
        code = response.code
      } else {
        samples.append(UInt32(clamping: (node.now - start).nanoseconds))
      }
    }
    return MeasureSends.Answer(samples: &samples, lost: lost, code: code)
  }
}

extension CommonOptions {
  package func timeLimitReached(_ what: String, _ count: Int) -> Failure {
    Failure(
      status: .timeLimit, description: "\(what): \(count) Sends took longer than \(timeout) s")
  }

  /// Lets this host's node measure.
  package func measure(
    _ operation: MeasureSends, on node: AttachedBackplane, _ what: String
  ) throws(Failure) -> MeasureSends.Answer {
    // The node keeps the time; this limit is for a node that does not.
    let limit = TimeSpan.milliseconds(timeoutMilliseconds) + .seconds(2)
    let client = node.makeClient(user: node.user)
    defer { node.retire(client) }
    let answer = node.sendAndWait(
      operation, from: client, to: .nodeServer(of: node.kernel),
      options: SendOptions(timeLimit: limit))
    switch answer {
    case .done(let result, _): return result
    case .refused(.notFound):
      throw Failure(status: .refused, description: "\(what): no node of that name answers")
    case .refused(.userTimeout):
      throw timeLimitReached(what, Int(operation.count))
    case .refused(let refusal):
      guard node.isAttached else { throw Failure.nodeLost }
      throw Failure(status: .refused, description: "\(what): \(refusal)")
    }
  }

  /// The node server of a host, or the entity that is named.
  package func find(
    _ target: String, on node: AttachedBackplane, _ verb: String
  ) throws(Failure) -> EntityID {
    if let entity = EntityID(target) { return entity }
    if target == "self" || target == node.host { return .nodeServer(of: node.kernel) }
    let client = node.makeClient(user: node.user)
    defer { node.retire(client) }
    // The node itself waits as long for one.
    let limit = min(TimeSpan.milliseconds(timeoutMilliseconds), .seconds(1))
    let answer = node.sendAndWait(
      FindNode(host: target), from: client, to: .nodeGroup,
      options: SendOptions(timeLimit: limit))
    guard case .done(let found, _) = answer else {
      throw Failure(
        status: .refused, description: "\(verb) \(target): no node of that name answers")
    }
    return found.server
  }
}
