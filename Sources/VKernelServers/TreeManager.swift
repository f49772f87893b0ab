import Synchronization
public import VProtocol
public import VRuntime

/// A manager of a tree that is made up: contexts, live text and devices, by the same naming and UIO
/// operations as everything else.
///
/// A text is made when it is opened and then stays as it is, so that one reader sees one state; as
/// long as it is open, its size is told as that of what was opened.
public final class TreeManager: Sendable {
  /// The context of the root.
  public static let root = ContextID(rawValue: 1)

  public let server: EntityID
  private let backplane: any Backplane
  private let operations: TreeOperations
  /// Who is told that the prefix is lost; nil where none is held.
  private let observer = Observer()

  private final class Observer: Sendable {
    let told = Mutex<(@Sendable (ReplyCode) -> Void)?>(nil)
  }

  public init(_ backplane: any Backplane, _ root: TreeContext) {
    self.backplane = backplane
    let operations = TreeOperations(backplane, root)
    let observer = observer
    self.operations = operations
    server = backplane.makeServer(knowsPrincipals: true) { request in
      let mcb = request.message.mcb
      guard mcb.code == SpreadClaims.code, mcb.flags.contains(.datagram), request.isLocal,
        request.principal?.user == "root"
      else { return operations.serve(request) }
      // The directory of this host tells of a claim that is newer than this manager's.
      observer.told.withLock { $0.take() }?(.duplicateName)
    }
  }

  /// A manager of texts alone.
  public convenience init(
    _ backplane: any Backplane, texts: [(name: String, text: @Sendable () -> String)]
  ) {
    self.init(backplane, TreeContext(texts.map { ($0.name, .text(TreeText($0.text))) }))
  }

  /// Claims `prefix` in this host's directory and answers for it in the name handling group;
  /// `completion` is called once, and again with `duplicateName` if it is lost to a newer claim.
  ///
  /// A prefix that another host answers for (`duplicateName`) is not served.
  public func claim(
    _ prefix: String, in directory: EntityID, completion: @escaping @Sendable (ReplyCode) -> Void
  ) {
    let prefix = Array(prefix.utf8)
    let client = backplane.makeClient(user: "root")
    backplane.send(
      ClaimName(prefix: prefix, context: Self.root, manager: server), from: client, to: directory
    ) { [self] answer in
      backplane.retire(client)
      guard case .refused(let code) = answer else {
        observer.told.withLock { $0 = completion }
        answerForNames(prefix)
        return completion(.ok)
      }
      completion(code)
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
        manager: server, context: isPrefix ? Self.root : .none,
        prefixBytes: query.name.index + (isPrefix ? prefix.count : name.count),
        kind: isPrefix ? .context : .sharedContext)
      backplane.reply(answer, to: request)
    }
    backplane.join(claimant, group: .nameHandlingGroup)
  }

  /// Every open instance as a line: its number, the manager, its owner, its host, how it was
  /// opened, and the name of the object below the root.
  public var instancesText: String {
    operations.instances.all.map { identifier, instance in
      "\(identifier.rawValue) \(server) \(instance.owner) "
        + "\(instance.principal?.host ?? "-") \(instance.mode.words) "
        + "\(instance.path.isEmpty ? "." : instance.path)\n"
    }.joined()
  }
}
