import Synchronization
import VObjects
import VProtocol
import VRuntime

/// An open shared context: a name above or between prefixes.
///
/// Each read gets its names at that moment; the positions of its records do not change.
struct SharedContext: Sendable {
  var name: Name

  /// The root of the name space: the one context with a fixed number.
  static let root = ContextID(rawValue: 1)

  /// Identity of a shared context: made from its name, so it is the same on every host and in every
  /// boot.
  static func identity(of name: [UInt8]) -> Descriptor.Identity {
    NameSpace.identity(ofSharedContext: name)
  }
}

/// Operations on open shared contexts.
extension Directory {
  func open(
    _ name: [UInt8], _ operation: CreateInstance, _ caller: Caller, _ request: Request
  ) {
    guard target(ofLink: name) == nil else { return backplane.refuse(.tooManyLinks, request) }
    guard operation.mode.contains(.directory) else {
      return backplane.refuse(.isContext, request)
    }
    do throws(Refusal) {
      try objects.instances.reserve(for: caller)
    } catch {
      return objects.refuse(error, request)
    }
    let instance = objects.enter(SharedContext(name: Name(name)), for: operation, caller)
    backplane.reply(
      CreateInstance.Answer(
        instance: instance.id, attributes: [.readable], isNew: false,
        descriptor: descriptor(of: name)), to: request)
  }

  func serveInstance(_ request: Request, _ instance: Instance<SharedContext>) {
    let name = instance.content.name.octets
    switch request.message.mcb.code {
    case ReadInstance.code:
      backplane.serve(ReadInstance.self, request) { operation in
        do throws(Refusal) {
          let block = try records(of: name, from: operation.position, operation.count)
          backplane.reply(ReadInstance.Answer(data: block), to: request)
        } catch {
          objects.refuse(error, request)
        }
      }
    case QueryInstance.code: backplane.reply(descriptor(of: name), to: request)
    case ModifyInstance.code: backplane.refuse(.notOwner, request)
    case WriteInstance.code: backplane.refuse(.notWriteable, request)
    case SyncInstance.code: backplane.reply(Done(), to: request)
    default: backplane.refuse(.illegalRequest, request)
    }
  }

  /// The records of a shared context: prefixes in the order in which they were first heard, then
  /// links.
  private func records(
    of name: [UInt8], from position: UInt64, _ count: Int
  ) throws(Refusal) -> [UInt8] {
    let (components, local) = state.withLock { state in
      (state.table.components(below: name), state.local.components(below: name))
    }
    var records: [(position: UInt64, name: [UInt8], kind: ObjectKind)] = components.map {
      (UInt64($0.position) + 1, $0.component, .context)
    }
    for (number, link) in links(in: components).enumerated() {
      records.append((UInt64(Claim.claimsMax + number) + 1, link, .symbolicLink))
    }
    let behindLinks = UInt64(Claim.claimsMax + Self.linksMax)
    // What hosts have claimed below a name of every host is listed above.
    records += local.filter { own in !components.contains { $0.component == own.component } }
      .map { (behindLinks + UInt64($0.position), $0.component, .context) }
    var filling = Listing.Filling(count)
    for record in records where record.position > position {
      let full = name.isEmpty ? record.name : name + [slash] + record.name
      var descriptor = Descriptor(
        kind: record.kind, identity: SharedContext.identity(of: full))
      descriptor.name = record.name
      guard try filling.add(descriptor, nextPosition: record.position) else { break }
    }
    return filling.octets
  }
}

// MARK: - What they look like

extension Directory {
  func context(of name: [UInt8]) -> ContextID { contexts.grant(Name(name), Name(name)) }

  func descriptor(of name: [UInt8]) -> Descriptor {
    let target = target(ofLink: name)
    let changedAt = state.withLock { $0.changedAt }
    var descriptor = Descriptor(
      kind: target == nil ? .sharedContext : .symbolicLink,
      identity: SharedContext.identity(of: name))
    descriptor.context = context(of: name)
    descriptor.permissions = target == nil ? 0o755 : 0o777
    descriptor.size = UInt64(target?.count ?? 0)
    descriptor.links = target == nil ? 2 : 1
    (descriptor.modified, descriptor.changed, descriptor.accessed) = (
      changedAt, changedAt, changedAt
    )
    descriptor.attributes = [.readable]
    return descriptor
  }

  /// The target of `self` or `any` in a shared context: this host if it serves there, for `any`
  /// else the first that does; nil for every other name.
  func target(ofLink name: [UInt8]) -> [UInt8]? {
    let cut = name.lastIndex(of: slash).map { $0 + 1 } ?? 0
    let last = Array(name[cut...])
    guard cut > 0, last == Self.selfName || last == Self.anyName else { return nil }
    let components = state.withLock { $0.table.components(below: Array(name[..<(cut - 1)])) }
    guard links(in: components).contains(last) else { return nil }
    let own = Array(backplane.host.utf8)
    if components.contains(where: { $0.component == own }) { return own }
    return components.first?.component
  }

  private func links(in components: [(position: Int, component: [UInt8])]) -> [[UInt8]] {
    // Only if the components are hosts: a context of other prefixes has no "this host".
    let areHosts = state.withLock { state in
      components.allSatisfy { state.table.index.isHost($0.component) }
    }
    guard !components.isEmpty, areHosts else { return [] }
    let own = Array(backplane.host.utf8)
    let isServing = components.contains { $0.component == own }
    return isServing ? [Self.selfName, Self.anyName] : [Self.anyName]
  }

  /// Positions of links, after those of the prefixes: more than there are now, to allow for new
  /// ones.
  private static let linksMax = 8
  private var slash: UInt8 { ClaimTable.slash }
  private static let selfName = Array("self".utf8)
  private static let anyName = Array("any".utf8)
}
