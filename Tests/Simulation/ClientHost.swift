import VClient
import VDirectory
import VProtocol
import VRuntime

/// A program that makes one call, as a mount makes one for a request.
final class OneCaller: Caller {
  private let principal: ClientUser
  /// Either the answer came, or a signal ended the call: one of them, once.
  let isOver = Shared(false)
  let wasInterrupted = Shared(false)

  init(_ user: String) { principal = ClientUser(user, marks: user == "root" ? .fullRoot : []) }

  func user(asking isStore: Bool) -> ClientUser { principal }
  func beginWaiting(_ call: Call) -> Bool { !isOver.value }
  var isWaiting: Bool { !isOver.value }
  func giveUp() -> Bool {
    guard !isOver.value else { return false }
    isOver.value = true
    wasInterrupted.value = true
    return true
  }
}

/// A client of the name space on a host, and a program that uses it step by step.
///
/// `@unchecked Sendable`: the simulator is one thread.
final class ClientHost: @unchecked Sendable {
  let client: Client
  private let simulator: Simulator
  private let user: String
  private let lockOwner: UInt64

  /// On a host that already runs.
  init(
    _ host: ClaimingHost, _ simulator: Simulator, user: String = "root", lockOwner: UInt64 = 1
  ) {
    self.simulator = simulator
    self.user = user
    self.lockOwner = lockOwner
    client = Client(
      host.node, host.directory.nameSpace, names: NameCache(host.node, clients: host.clients),
      clients: host.clients)
  }

  /// The result of a call, nil after 10 simulated seconds; a signal comes after `signal`, if any.
  func outcome<Value: Sendable>(
    signal: TimeSpan? = nil, within limit: TimeSpan = .seconds(10),
    _ body: (Call, @escaping @Sendable (Answer<Value>) -> Void) -> Void
  ) -> Result<Value, Refused>? {
    let caller = OneCaller(user)
    let call = Call(client, by: caller)
    let result = Shared<Result<Value, Refused>?>(nil)
    if let signal { simulator.schedule(after: signal) { call.interrupt() } }
    body(call) { answer in
      // If a signal ended the call, its answer is dropped.
      guard !caller.isOver.value else { return }
      caller.isOver.value = true
      switch answer {
      case .done(let value, _): result.value = .success(value)
      case .refused(let refusal): result.value = .failure(Refused(code: refusal.code))
      }
    }
    simulator.run(for: limit) { caller.isOver.value }
    return caller.wasInterrupted.value ? .failure(Refused(code: .interrupted)) : result.value
  }

  struct Refused: Error, Equatable { var code: ReplyCode }

  /// Looks up a path, component by component; each object is known then.
  func find(_ path: String) throws -> ObjectID {
    var id = ObjectTable.root
    for component in path.split(separator: "/").map({ Array($0.utf8) }) {
      let parent = id
      let found = Shared<ObjectID>(0)
      let result: Result<Descriptor, Refused>? = outcome { call, done in
        call.find(component, below: parent) { [client] answer in
          if case .done(let descriptor, let manager) = answer {
            found.value = client.enter(descriptor, of: manager, below: parent, component).id
          }
          done(answer)
        }
      }
      _ = try (result ?? .failure(Refused(code: .userTimeout))).get()
      id = found.value
    }
    return id
  }

  func open(_ id: ObjectID, _ mode: OpenMode) throws -> OpenID {
    try value { $0.open(id, mode, then: $1) }.id
  }

  /// The first octets of an open object, as text.
  func read(_ open: OpenID) throws -> String {
    let pieces = try value { $0.read(open, count: 100, at: 0, then: $1) }
    return String(decoding: pieces.flatMap { $0 }, as: UTF8.self)
  }

  func write(_ text: String, to open: OpenID) throws -> Int {
    try value { call, done in
      call.write(open, text.utf8Span.span.bytes, at: 0, dropsPrivileges: false, then: done)
    }
  }

  func describe(_ id: ObjectID, _ open: OpenID? = nil) throws -> Descriptor {
    try value { $0.describe(id, open, then: $1) }
  }

  func setLock(_ id: ObjectID, _ open: OpenID, _ kind: LockKind) throws {
    let lock = ObjectLock(kind, isWhole: false, owner: lockOwner, range: 0...9, process: 1)
    _ = try value { call, done in
      call.setLock(id, open, lock, waits: false) { code in
        done(code.isOK ? .done(Done(), by: .none) : .refused(code))
      }
    }
  }

  /// The result of a call; an error after 10 simulated seconds.
  func value<Value: Sendable>(
    _ body: (Call, @escaping @Sendable (Answer<Value>) -> Void) -> Void
  ) throws -> Value {
    try (outcome(body) ?? .failure(Refused(code: .userTimeout))).get()
  }
}
