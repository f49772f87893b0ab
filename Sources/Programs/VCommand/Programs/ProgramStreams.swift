import Glibc
import Synchronization
import VAttach
import VClient
package import VProtocol

extension RemoteProgram {
  /// Copies its output until it has ended and everything is written.
  ///
  /// Without `err` that stream is not read.
  package func attend(
    out: @escaping @Sendable ([UInt8]) -> Void, err: (@Sendable ([UInt8]) -> Void)?
  ) throws(Failure) -> RunExit {
    let ending = ProgramEnding()
    var copies = [Background.start { [self] in copy("out", out, ending) }]
    if let err { copies.append(Background.start { [self] in copy("err", err, ending) }) }
    do throws(Refusal) {
      conversation.end { ending.note($0) }
      let end = try ending.wait()
      for thread in copies { pthread_join(thread, nil) }
      if let refusal = ending.failure { throw refusal }
      return end
    } catch {
      let why = session.node.isAttached ? "\(host)/\(name): \(error)" : "\(Failure.nodeLost)"
      throw Failure(status: .programLost, description: why)
    }
  }

  private func copy(_ stream: String, _ sink: @Sendable ([UInt8]) -> Void, _ ending: ProgramEnding)
  {
    let output = output(stream)
    do throws(Refusal) {
      while true {
        let octets = try Answered.value { output.read($0) }
        if octets.isEmpty { return }
        sink(octets)
      }
    } catch {
      ending.fail(error)
      // Its output would be lost: it ends, and that is waited for.
      release()
      // One that is not this process's goes on, and is no more looked at.
      if !isHeld { ending.note(.failure(error)) }
    }
  }
}

/// How a program ended that is attended, and why a stream of it could not be copied.
private final class ProgramEnding: Sendable {
  private let ended = Mailbox<Result<RunExit, Refusal>>()
  private let refusal = Mutex<Refusal?>(nil)

  func note(_ end: Result<RunExit, Refusal>) { ended.put(end) }
  func fail(_ why: Refusal) { refusal.withLock { $0 = $0 ?? why } }
  func wait() throws(Refusal) -> RunExit { try ended.wait().get() }
  var failure: Refusal? { refusal.withLock { $0 } }
}
