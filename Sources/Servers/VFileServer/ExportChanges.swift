import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// Adding, removing and changing exports, and their directories, while the server runs.
extension FileServer {
  /// Serves these exports from now on, and no others; `completion` of `claim` is called for new
  /// ones.
  ///
  /// Instances that were opened through a removed export stay open. `ExportFailure` if a prefix is
  /// empty or used twice, or if there were too many exports; then nothing has changed.
  package func change(to new: [Export]) throws(ExportFailure) {
    try Self.check(new)
    if let export = exports.firstWithoutRoom(new) {
      throw ExportFailure(export: export, code: .noServerResources)
    }
    let kept = Set(new.map(\.prefix))
    for (number, export, _) in exports.served where !kept.contains(export.prefix) {
      exports.remove(number)
      claims.giveUp(number)
    }
    let before = Set(exports.served.map(\.number))
    for export in new {
      let (number, context) = try add(export)
      if !before.contains(number) { claims.add(export.prefix, context) }
    }
  }

  static func check(_ exports: [Export]) throws(ExportFailure) {
    for (number, export) in exports.enumerated() {
      let isTaken = exports[..<number].contains { $0.prefix == export.prefix }
      guard !export.prefix.isEmpty, !isTaken, (try? RelativePath(export.prefix)) != nil else {
        throw ExportFailure(export: export, code: .badArguments)
      }
    }
  }

  /// Adds an export, whose directory may exist or not.
  func add(_ export: Export) throws(ExportFailure) -> (number: Int, context: ContextID) {
    let number = exports.put(
      export, path: store.steadyPath(export.path),
      context: ContextID(rawValue: backplane.random()), at: backplane.now)
    guard let number else { throw ExportFailure(export: export, code: .noServerResources) }
    if case .due = exports.root(exports.place(number).context, at: backplane.now) { look(number) }
    return (number, exports.place(number).context)
  }

  /// Checks the root of an export again after a while: its directory may have been replaced, or a
  /// disk mounted there.
  func lookAgain(_ context: ContextID, _ turn: Turn) throws(StoreFailure) {
    switch exports.root(context, at: backplane.now) {
    case .none: return
    case .known(isThere: true): return
    case .known(isThere: false): throw .refused(.noDevice)
    case .due(let number):
      try turn.mustBeAbleToWait()
      guard look(number) else { throw .refused(.noDevice) }
    }
  }

  /// Finds the present directory of an export; false if there is none.
  @discardableResult
  private func look(_ number: Int) -> Bool {
    let (path, context) = exports.place(number)
    var root: HeldObject?
    var identity: Descriptor.Identity?
    do throws(StoreFailure) {
      let object = HeldObject(try store.reopenRoot(path), of: store, export: number)
      identity = try store.describe(object.handle).identity
      root = object
    } catch {}
    let before = exports.note(number, identity, at: backplane.now)
    guard before != identity else { return root != nil }
    if let before { contexts.drop(ObjectKey(export: number, identity: before)) }
    guard let root, let identity else { return false }
    let key = ObjectKey(export: number, identity: identity)
    // It may have been found as an object further below until now.
    contexts.drop(key)
    _ = contexts.grant(key, root, isPinned: true, as: context)
    return true
  }
}
