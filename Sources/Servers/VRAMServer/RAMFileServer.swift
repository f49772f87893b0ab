import Synchronization
public import VObjects
import VProtocol
public import VRuntime

/// A file server whose files are in memory and end with it: the example server.
public final class RAMFileServer: Sendable {
  /// The manager; it is found by its prefix once that is claimed.
  public let manager: TreeManager

  /// Serves an empty directory that everybody may write to, under `prefix`.
  public init(_ backplane: any Backplane, prefix: String) {
    let disk = RAMDisk(backplane)
    let root = RAMDirectory(disk, disk.newAccess("root", 0o1777)).context
    manager = TreeManager(backplane, root, prefix: prefix)
  }
}

/// What all files of a server share: their bounds, their clock, and their numbers.
///
/// The maker of an object is charged for it, and for its contents, whoever writes them.
private final class RAMDisk: Sendable {
  private static let bytesMax = 64 << 20
  /// The number of files of 4 KB that fill the server.
  private static let namesMax = 16_384
  private let backplane: any Backplane
  private let state: Mutex<(octets: Shares, names: Shares, last: UInt64)>

  init(_ backplane: any Backplane) {
    self.backplane = backplane
    let host = backplane.host
    state = Mutex(
      (
        Shares(capacity: Self.bytesMax, ownHost: host),
        Shares(capacity: Self.namesMax, ownHost: host), 0
      ))
  }
  var wallClock: Int64 { backplane.wallClock }

  /// The access of a new object, with a generation of its own.
  func newAccess(_ owner: String, _ permissions: UInt32) -> TreeAccess {
    state.withLock { state in
      state.last += 1
      return TreeAccess(
        owner: owner, permissions: permissions, generation: state.last, modified: wallClock)
    }
  }

  /// Takes room for one more name, as long as the result is kept; nil if there is none.
  func takeName(_ payer: Principal) -> NameShare? {
    state.withLock { $0.names.take(payer) } ? NameShare(self, payer) : nil
  }
  fileprivate func giveName(_ payer: Principal) { state.withLock { $0.names.give(payer) } }

  /// Takes room for the growth of a file, or gives some back; false if there is none.
  func take(_ count: Int, _ payer: Principal) -> Bool {
    state.withLock { state in
      if count >= 0 { return state.octets.take(payer, count) }
      state.octets.give(payer, -count)
      return true
    }
  }
}

/// The room that one name takes.
private final class NameShare: Sendable {
  private let disk: RAMDisk
  private let payer: Principal
  init(_ disk: RAMDisk, _ payer: Principal) { (self.disk, self.payer) = (disk, payer) }
  deinit { disk.giveName(payer) }
}

/// A directory: its names and their objects.
private final class RAMDirectory: Sendable {
  private let disk: RAMDisk
  private let access: TreeAccess
  private let objects = Mutex<[Name: (object: TreeObject, share: NameShare)]>([:])

  init(_ disk: RAMDisk, _ access: TreeAccess) { (self.disk, self.access) = (disk, access) }
  var context: TreeContext {
    var context = TreeContext(
      names: { [self] in objects.withLock { $0.keys.sorted() } },
      object: { [self] name in objects.withLock { $0[name]?.object } })
    context.access = access
    context.make = { [self] in $1(make($0)) }
    context.remove = { [self] in $2(remove($0, $1)) }
    context.rename = { [self] in $3(remove($0, $2, for: $1)) }
    return context
  }

  private func make(_ making: TreeContext.Making) -> Refusal? {
    let access = disk.newAccess(making.caller.user, making.permissions)
    let payer = making.caller.principal
    return objects.withLock { objects in
      // Another request may have made the name meanwhile.
      if objects[making.name] != nil { return Refusal(.duplicateName) }
      guard let share = disk.takeName(payer) else { return Refusal(.noSpace) }
      let object: TreeObject =
        switch making.kind {
        case .context: .context(RAMDirectory(disk, access).context)
        case .symbolicLink: .link(making.target, access)
        default: .file(RAMFile(disk, access, payer: payer))
        }
      objects[making.name] = (object, share)
      return nil
    }
  }

  /// Removes a name; its object gets the name `new`, if there is one.
  private func remove(_ name: Name, _ caller: Caller, for new: Name? = nil) -> Refusal? {
    objects.withLock { objects in
      guard let (object, share) = objects[name] else { return Refusal(.notFound) }
      let replaced = new.flatMap { objects[$0]?.object }
      for object in [object, replaced].compactMap(\.self) {
        let isOwner = caller.isRoot || [access.owner, object.access.owner].contains(caller.user)
        if access.permissions & 0o1000 != 0 && !isOwner {
          return Refusal(.notOwner, "\(name) belongs to \(object.access.owner)")
        }
      }
      if case .context(let context)? = new == nil ? object : replaced, !context.isEmpty {
        return Refusal(.contextNotEmpty)
      }
      objects[name] = nil
      if let new { objects[new] = (object, share) }
      return nil
    }
  }
}

/// A file; it is also the session of each of its instances, because opening makes no state.
private final class RAMFile: TreeFile, TreeSession {
  let attributes: UIOAttributes = [.readable, .writeable, .randomAccess, .multiBlock, .storage]
  private typealias State = (octets: [UInt8], access: TreeAccess)
  private let disk: RAMDisk
  private let payer: Principal
  private let state: Mutex<State>

  init(_ disk: RAMDisk, _ access: TreeAccess, payer: Principal) {
    self.disk = disk
    self.payer = payer
    state = Mutex((octets: [], access: access))
  }
  deinit { _ = disk.take(-Int(size), payer) }

  var access: TreeAccess { state.withLock { $0.access } }
  var size: UInt64 { UInt64(state.withLock { $0.octets.count }) }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    if opening.mode.contains(.truncate) { _ = state.withLock { resize(&$0, to: 0) } }
    opened(.success(self))
  }

  func modify(_ modification: Modification, _ caller: Caller) -> Refusal? {
    let isOwner = caller.isRoot || access.owner == caller.user
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

  /// Cuts the file or fills it with zeros; false if there is no room.
  private func resize(_ state: inout State, to size: UInt64) -> Bool {
    let more = Int(clamping: size) - state.octets.count
    guard disk.take(more, payer) else { return false }
    if more < 0 { state.octets.removeLast(-more) }
    if more > 0 { state.octets += repeatElement(0, count: more) }
    state.access.modified = disk.wallClock
    return true
  }
}
