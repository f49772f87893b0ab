import Glibc
import Synchronization
import VAttach
import VProtocol
import VRuntime

/// The hosts that run programs for others.
package enum TeamHosts {
  /// All that are known, silent ones too, by name.
  package static func all(_ session: Session) throws(Failure) -> [String] {
    do throws(Refusal) {
      let team = try session.open("team", [.read, .directory], limit: .seconds(1))
      defer { team.close() }
      // The links self and any lead to hosts that are there anyway.
      return try team.records(limit: .seconds(1)).filter { $0.kind.isContext }
        .map { String(decoding: $0.name, as: UTF8.self) }
        .filter { $0 != QueryTeam.linksName }.sorted()
    } catch {
      throw Failure(
        status: .refused,
        description: error.code == .notFound ? "no host runs programs" : "team: \(error)")
    }
  }

  /// How long further answers are waited for after the first one.
  private static let moreMicroseconds: UInt32 = 1000
  /// An answer comes in this time, or no host accepts the program.
  private static let limit = TimeSpan.milliseconds(500)

  /// Asks all program managers at once and takes the least loaded of those that answer soon; of
  /// several any.
  package static func leastLoaded(
    for programClass: String, _ session: Session
  ) throws(Failure) -> String {
    let classes: [String: SelectHost.Class] = [
      "foreground": .foreground, "background": .background, "guest": .guest,
    ]
    let found = Offers()
    let node = session.node
    let client = node.makeClient(user: node.user)
    defer { node.retire(client) }
    node.send(
      SelectHost(classes[programClass] ?? .foreground).message, from: client,
      to: .programManagerGroup,
      // The first to answer are those that have time.
      options: SendOptions(timeLimit: limit, collectsResponses: true, spreadsResponses: false)
    ) { response in
      found.note(response.code.isOK ? try? SelectHost.Answer(parsing: response.message) : nil)
    }
    found.waitForFirst()
    usleep(moreMicroseconds)
    guard let host = found.best else {
      throw Failure(
        status: .refused, description: "no host is willing to run a \(programClass) program",
        remedy: "run = [\"*@\(node.host)\"] in the vnode.toml of another host would make it so")
    }
    return host
  }

  /// The answers of program managers.
  private final class Offers: Sendable {
    private let offers = Mutex<[SelectHost.Answer]>([])
    /// Full once there is an answer, or nobody answers any more.
    private let first = Mailbox<Bool>()

    func note(_ offer: SelectHost.Answer?) {
      if let offer { offers.withLock { $0.append(offer) } }
      first.put(true)
    }

    func waitForFirst() { _ = first.wait() }

    var best: String? {
      offers.withLock { offers in
        let least = offers.map(\.loadThousandths).min()
        return offers.filter { $0.loadThousandths == least }.randomElement()?.host
      }
    }
  }
}
