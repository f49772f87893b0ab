import Synchronization
import VProtocol
public import VRuntime
public import VTree

/// A file server whose files are in memory and end with it: the example of a board.
///
/// `VTree` does the naming, the instances and the waiting; what is left to say is where the state
/// is (here) and what an object answers (`RAMFile`).
public final class RAMFileServer: Sendable {
  /// The manager; it is found by its prefix once that is claimed.
  public let manager: TreeManager

  /// Serves an empty directory that everybody may write to, by the name of `prefix`.
  public init(_ backplane: any Backplane, prefix: String) {
    let root = RAMDirectory(RAMDisk(backplane), owner: "root", permissions: 0o1777)
    manager = TreeManager(backplane, root.context, prefix: prefix)
  }
}

/// What the files of a server share: their bound, their clock, and a number for each of them.
private final class RAMDisk: Sendable {
  private static let bytesMax = 64 << 20
  private let backplane: any Backplane
  private let state = Mutex((used: 0, last: UInt64(0)))

  init(_ backplane: any Backplane) { self.backplane = backplane }

  var wallClock: Int64 { backplane.wallClock }

  /// Of a new object, which is never taken for an earlier one of its name.
  func newAccess(_ owner: String, _ permissions: UInt32) -> TreeAccess {
    let generation = state.withLock { state in
      state.last += 1
      return state.last
    }
    return TreeAccess(
      owner: owner, permissions: permissions, generation: generation, modified: wallClock)
  }

  /// Takes room for a file that grows by so much; false where there is none.
  func take(_ count: Int) -> Bool {
    state.withLock { state in
      guard count <= Self.bytesMax - state.used else { return false }
      state.used += count
      return true
    }
  }
}

/// A directory: its names, and who may change them.
private final class RAMDirectory: Sendable {
  private let disk: RAMDisk
  private let access: TreeAccess
  private let objects = Mutex<[String: TreeObject]>([:])

  init(_ disk: RAMDisk, owner: String, permissions: UInt32) {
    self.disk = disk
    access = disk.newAccess(owner, permissions)
  }

  var context: TreeContext {
    var context = TreeContext(
      names: { [self] in objects.withLock { $0.keys.sorted() } },
      object: { [self] name in objects.withLock { $0[name] } })
    context.access = access
    context.make = { [self] making, outcome in outcome(make(making)) }
    context.remove = { [self] name, caller, outcome in outcome(remove(name, caller)) }
    return context
  }

  private func make(_ making: TreeContext.Making) -> Refusal? {
    let (owner, permissions) = (making.caller.user, making.permissions)
    let object: TreeObject =
      switch making.kind {
      case .context: .context(RAMDirectory(disk, owner: owner, permissions: permissions).context)
      case .symbolicLink: .link(making.target)
      default: .file(RAMFile(disk, disk.newAccess(owner, permissions)))
      }
    return objects.withLock { objects in
      // Somebody else may have been quicker.
      guard objects[making.name] == nil else { return Refusal(.duplicateName) }
      objects[making.name] = object
      return nil
    }
  }

  private func remove(_ name: String, _ caller: TreeCaller) -> Refusal? {
    objects.withLock { objects in
      guard let object = objects[name] else { return Refusal(.notFound) }
      let isSticky = access.permissions & 0o1000 != 0
      guard !isSticky || ["root", access.owner, object.access.owner].contains(caller.user) else {
        return Refusal(.notOwner, "\(name) belongs to \(object.access.owner)")
      }
      if case .context(let context) = object, !context.isEmpty { return Refusal(.contextNotEmpty) }
      objects[name] = nil
      return nil
    }
  }
}

/// A file; it is also what every instance of it does, since opening one makes no state.
private final class RAMFile: TreeFile, TreeSession {
  let attributes: UIOAttributes = [.readable, .writeable, .randomAccess, .multiBlock, .storage]
  private typealias State = (octets: [UInt8], access: TreeAccess)
  private let disk: RAMDisk
  private let state: Mutex<State>

  init(_ disk: RAMDisk, _ access: TreeAccess) {
    self.disk = disk
    state = Mutex((octets: [], access: access))
  }
  deinit { _ = disk.take(-Int(size)) }

  var access: TreeAccess { state.withLock { $0.access } }
  var size: UInt64 { UInt64(state.withLock { $0.octets.count }) }

  func open(
    _ opening: TreeOpening,
    _ completion: @escaping @Sendable (Result<any TreeSession, Refusal>) -> Void
  ) {
    if opening.mode.contains(.truncate) { _ = state.withLock { resize(&$0, to: 0) } }
    completion(.success(self))
  }

  func modify(_ modification: Modification, _ caller: TreeCaller) -> Refusal? {
    let isOwner = ["root", access.owner].contains(caller.user)
    guard modification.owner == nil, modification.group == nil,
      isOwner || modification.permissions == nil
    else { return Refusal(.notOwner) }
    return state.withLock { state in
      if let size = modification.size, !resize(&state, to: size) { return Refusal(.noSpace) }
      state.access.permissions = modification.permissions ?? state.access.permissions
      if case .at(let time) = modification.modified { state.access.modified = time }
      return nil
    }
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    let octets = state.withLock { $0.octets }
    call.answer(data: Array(octets.dropFirst(Int(clamping: position)).prefix(count)))
  }

  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    let hasRoom = state.withLock { state in
      let start = call.isAppending ? UInt64(state.octets.count) : position
      let (end, isTooFar) = start.addingReportingOverflow(UInt64(data.count))
      guard !isTooFar, resize(&state, to: max(end, UInt64(state.octets.count))) else {
        return false
      }
      state.octets.replaceSubrange(Int(start)..<Int(end), with: data)
      return true
    }
    if hasRoom { call.answer(count: data.count) } else { call.refuse(Refusal(.noSpace)) }
  }

  /// Cuts the file or fills it with zeros; false where there is no room.
  private func resize(_ state: inout State, to size: UInt64) -> Bool {
    let more = Int(clamping: size) - state.octets.count
    guard disk.take(more) else { return false }
    if more < 0 { state.octets.removeLast(-more) }
    if more > 0 { state.octets += repeatElement(0, count: more) }
    state.access.modified = disk.wallClock
    return true
  }
}
