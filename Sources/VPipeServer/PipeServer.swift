import Synchronization
public import VProtocol
public import VRuntime

/// The manager of this host's pipes: `pipe/<host>/<name>`.
///
/// Outside the kernel, as V had it: two clients meet at a name, and a request that must wait is
/// simply not answered yet.
public final class PipeServer: Sendable {
  public let server: EntityID
  private let backplane: any Backplane
  private let operations: PipeOperations
  private let observer: Observer

  /// Who is told that the prefix is lost; nil where none is held.
  private final class Observer: Sendable {
    let told = Mutex<(@Sendable (ReplyCode) -> Void)?>(nil)
  }

  public init(_ backplane: any Backplane) {
    let operations = PipeOperations(backplane)
    let observer = Observer()
    self.backplane = backplane
    self.operations = operations
    self.observer = observer
    server = backplane.makeServer(knowsPrincipals: true) { request in
      let mcb = request.message.mcb
      guard mcb.code == SpreadClaims.code, mcb.flags.contains(.datagram), request.isLocal,
        request.principal?.user == "root"
      else { return operations.serve(request) }
      // The directory of this host tells of a claim that is newer than this manager's.
      observer.told.withLock { $0.take() }?(.duplicateName)
    }
  }

  /// Claims `pipe/<host>` in this host's directory and answers for it in the name handling group;
  /// `completion` is called once, and again with `duplicateName` if it is lost to a newer claim.
  ///
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    let prefix = Array("pipe/\(backplane.host)".utf8)
    let client = backplane.makeClient(user: "root")
    backplane.send(
      ClaimName(prefix: prefix, context: PipeOperations.root, manager: server), from: client,
      to: directory
    ) { [self] answer in
      backplane.retire(client)
      if case .refused(let code) = answer { return completion(code) }
      observer.told.withLock { $0 = completion }
      answerForNames(prefix)
      completion(.ok)
    }
  }

  /// Of what is asked of the name handling group only what is meant is answered.
  private func answerForNames(_ prefix: [UInt8]) {
    let slash = [UInt8(ascii: "/")]
    let claimant = backplane.makeServer(knowsPrincipals: false) {
      [backplane, server, observer] request in
      guard observer.told.withLock({ $0 != nil }), request.message.mcb.code == QueryName.code,
        let query = try? QueryName(parsing: request.message)
      else { return }
      let name = Array(query.name.rest)
      let isPrefix = name == prefix || name.starts(with: prefix + slash)
      guard isPrefix || name.isEmpty || prefix.starts(with: name + slash) else { return }
      let answer = QueryName.Answer(
        manager: server, context: isPrefix ? PipeOperations.root : .none,
        prefixBytes: query.name.index + (isPrefix ? prefix.count : name.count),
        kind: isPrefix ? .context : .sharedContext)
      backplane.reply(answer, to: request)
    }
    backplane.join(claimant, group: .nameHandlingGroup)
  }

  /// Every open instance as a line: its number, this manager, its owner, its host, how it was
  /// opened, and the pipe.
  public var instancesText: String {
    operations.board.look { state in
      state.opened.sorted { $0.key.rawValue < $1.key.rawValue }.map { identifier, opened in
        var object = "pipe/\(backplane.host)"
        if case .pipe(let pipe) = opened.object {
          object += "/" + String(decoding: state.table[pipe]?.name ?? [], as: UTF8.self)
        }
        return "\(identifier.rawValue) \(server) \(opened.owner) "
          + "\(opened.principal?.host ?? "-") \(opened.mode.words) \(object)\n"
      }.joined()
    }
  }

  /// Requests that have not been answered.
  package var waitCount: Int { operations.board.look { $0.pending.count } }
}
