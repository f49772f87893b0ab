import Synchronization
public import VObjects
import VProtocol
public import VRuntime

/// A file server whose files are in memory and end with it: the example of a board.
public final class RAMFileServer: Sendable {
  /// The manager; it is found by its prefix once that is claimed.
  public let manager: TreeManager

  /// Serves an empty directory that everybody may write to, by the name of `prefix`.
  public init(_ backplane: any Backplane, prefix: String) {
    let disk = RAMDisk(backplane)
    let root = RAMDirectory(disk, disk.newAccess("root", 0o1777)).context
    manager = TreeManager(backplane, root, prefix: prefix)
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
    state.withLock { state in
      state.last += 1
      return TreeAccess(
        owner: owner, permissions: permissions, generation: state.last, modified: wallClock)
    }
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

  init(_ disk: RAMDisk, _ access: TreeAccess) { (self.disk, self.access) = (disk, access) }
  var context: TreeContext {
    var context = TreeContext(
      names: { [self] in objects.withLock { $0.keys.sorted() } },
      object: { [self] name in objects.withLock { $0[name] } })
    context.access = access
    context.make = { [self] in $1(make($0)) }
    context.remove = { [self] in $2(remove($0, $1)) }
    context.rename = { [self] in $3(remove($0, $2, for: $1)) }
    return context
  }

  private func make(_ making: TreeContext.Making) -> Refusal? {
    let access = disk.newAccess(making.caller.user, making.permissions)
    return objects.withLock { objects in
      // Somebody else may have been quicker.
      if objects[making.name] != nil { return Refusal(.duplicateName) }
      switch making.kind {
      case .context: objects[making.name] = .context(RAMDirectory(disk, access).context)
      case .symbolicLink: objects[making.name] = .link(making.target, access)
      default: objects[making.name] = .file(RAMFile(disk, access))
      }
      return nil
    }
  }

  /// Takes a name away; its object gets the name `new`, if there is one.
  private func remove(_ name: String, _ caller: TreeCaller, for new: String? = nil) -> Refusal? {
    objects.withLock { objects in
      guard let object = objects[name] else { return Refusal(.notFound) }
      for object in [object, new.flatMap { objects[$0] }].compactMap(\.self) {
        let owners = ["root", access.owner, object.access.owner]
        if access.permissions & 0o1000 != 0 && !owners.contains(caller.user) {
          return Refusal(.notOwner, "\(name) belongs to \(object.access.owner)")
        }
      }
      if case .context(let context)? = new.map({ objects[$0] }) ?? object, !context.isEmpty {
        return Refusal(.contextNotEmpty)
      }
      objects[name] = nil
      if let new { objects[new] = object }
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

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    if opening.mode.contains(.truncate) { _ = state.withLock { resize(&$0, to: 0) } }
    opened(.success(self))
  }

  func modify(_ modification: Modification, _ caller: TreeCaller) -> Refusal? {
    let isOwner = ["root", access.owner].contains(caller.user)
    let changesOwner = (modification.owner ?? modification.group) != nil
    if changesOwner || modification.permissions != nil && !isOwner { return Refusal(.notOwner) }
    return state.withLock { state in
      if let size = modification.size, !resize(&state, to: size) { return Refusal(.noSpace) }
      state.access.permissions = modification.permissions ?? state.access.permissions
      if case .at(let time) = modification.modified { state.access.modified = time }
      return nil
    }
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    let rest = state.withLock { $0.octets }.dropFirst(Int(clamping: position))
    call.answer(data: Array(rest.prefix(count)))
  }

  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    let hasRoom = state.withLock { state in
      let start = call.isAppending ? UInt64(state.octets.count) : position
      let (end, isTooFar) = start.addingReportingOverflow(UInt64(data.count))
      let size = isTooFar ? .max : max(end, UInt64(state.octets.count))
      guard resize(&state, to: size) else { return false }
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
