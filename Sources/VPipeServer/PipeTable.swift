package import VProtocol

/// The pipes of a host by name, each a state machine, and the instances of all of them.
///
/// No lock, no clock, no I/O: every change returns the answers that it makes possible. A request
/// is answered by exactly one action, at once or later.
package struct PipeTable: Sendable {
  /// Never used a second time.
  package typealias PipeID = UInt64

  package struct Entry: Sendable {
    package internal(set) var pipe = Pipe()
    /// Nil once it was removed: then it lasts as long as somebody has it open.
    package internal(set) var name: [UInt8]?
    package var owner: Principal
    package var permissions: UInt32
    /// Nanoseconds since 1970.
    package var born: Int64
    package var changed: Int64
  }

  private var entries: [PipeID: Entry] = [:]
  private var names: [[UInt8]: PipeID] = [:]
  private var pipes: [InstanceID: PipeID] = [:]
  private var waits: [Pipe.Wait: PipeID] = [:]
  private var lastPipe: PipeID
  private var lastInstance: UInt64 = 0

  package static let pipesMax = 1024
  /// Of all pipes together; a wait holds a record of its client.
  package static let waitsMax = 4096

  /// Pipes are numbered from the one after `first`.
  package init(first: PipeID = 1) { lastPipe = first }

  package subscript(identifier: PipeID) -> Entry? {
    get { entries[identifier] }
    set { entries[identifier] = newValue }
  }

  package subscript(name: [UInt8]) -> PipeID? { names[name] }
  package func pipe(of instance: InstanceID) -> PipeID? { pipes[instance] }

  /// The names that there are, in the order of making.
  package var all: [(PipeID, Entry)] {
    entries.filter { $0.value.name != nil }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }
}

// MARK: - Names

extension PipeTable {
  /// Makes a pipe; nil if there is no room for one more.
  package mutating func make(
    _ name: [UInt8], owner: Principal, permissions: UInt32, at time: Int64
  ) -> PipeID? {
    precondition(names[name] == nil, "a name is given once")
    guard entries.count < Self.pipesMax else { return nil }
    lastPipe += 1
    entries[lastPipe] = Entry(
      name: name, owner: owner, permissions: permissions, born: time, changed: time)
    names[name] = lastPipe
    return lastPipe
  }

  /// Takes the name away; nobody can come any more for whom an opening waits.
  package mutating func remove(_ identifier: PipeID) -> [Pipe.Action] {
    guard var entry = entries[identifier], let name = entry.name.take() else { return [] }
    names[name] = nil
    let actions = entry.pipe.openings.map {
      Pipe.Action(wait: $0.wait, outcome: .refused(.notFound))
    }
    entry.pipe.openings = []
    entries[identifier] = entry
    return finish(identifier, actions)
  }
}

// MARK: - Instances

extension PipeTable {
  /// A number that no instance has.
  package mutating func nextInstance() -> InstanceID {
    repeat { lastInstance &+= 1 } while pipes[InstanceID(rawValue: lastInstance)] != nil
    return InstanceID(rawValue: lastInstance)
  }

  /// Opens a pipe, when the other end is open too; at once if it `isMaking` it, or opens both.
  package mutating func open(
    _ identifier: PipeID, _ ends: Pipe.Ends, isMaking: Bool = false, isNonBlocking: Bool = false,
    _ wait: Pipe.Wait
  ) -> [Pipe.Action] {
    guard let entry = entries[identifier], entry.name != nil else {
      return [Pipe.Action(wait: wait, outcome: .refused(.notFound))]
    }
    var actions: [Pipe.Action] = []
    if isMaking || entry.pipe.isComplete(ends) || (isNonBlocking && ends == .reads) {
      add(identifier, ends, isNonBlocking: isNonBlocking, wait, &actions)
      for opening in entries[identifier]!.pipe.takeOpenings(for: ends) {
        add(identifier, opening.ends, isNonBlocking: false, opening.wait, &actions)
      }
      return finish(identifier, actions)
    }
    if isNonBlocking { return [Pipe.Action(wait: wait, outcome: .refused(.noDevice))] }
    return self.wait(identifier, wait) { pipe in
      pipe.openings.append(Pipe.Opening(wait: wait, ends: ends))
    }
  }

  private mutating func add(
    _ identifier: PipeID, _ ends: Pipe.Ends, isNonBlocking: Bool, _ wait: Pipe.Wait,
    _ actions: inout [Pipe.Action]
  ) {
    let instance = nextInstance()
    pipes[instance] = identifier
    entries[identifier]!.pipe.add(instance, ends, isNonBlocking: isNonBlocking)
    actions.append(Pipe.Action(wait: wait, outcome: .opened(instance)))
  }

  /// Reads one block or a part of one; nothing at the end.
  package mutating func read(
    _ instance: InstanceID, count: Int, _ wait: Pipe.Wait
  ) -> [Pipe.Action] {
    guard let (identifier, mode) = find(instance) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.invalidFileID))]
    }
    guard mode.ends.contains(.reads) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.notReadable))]
    }
    guard count > 0 else { return [Pipe.Action(wait: wait, outcome: .read([]))] }
    return self.wait(identifier, wait, mayNotWait: mode.isNonBlocking) { pipe in
      pipe.readings.append(Pipe.Reading(wait: wait, instance: instance, count: count))
    }
  }

  /// Writes one block, when there is room for it.
  package mutating func write(
    _ instance: InstanceID, _ data: [UInt8], _ wait: Pipe.Wait
  ) -> [Pipe.Action] {
    guard let (identifier, mode) = find(instance) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.invalidFileID))]
    }
    guard mode.ends.contains(.writes) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.notWriteable))]
    }
    guard !data.isEmpty else { return [Pipe.Action(wait: wait, outcome: .written(0))] }
    return self.wait(identifier, wait, mayNotWait: mode.isNonBlocking) { pipe in
      pipe.writings.append(Pipe.Writing(wait: wait, instance: instance, data: data))
    }
  }

  package mutating func release(_ instance: InstanceID) -> [Pipe.Action] {
    guard let identifier = pipes.removeValue(forKey: instance) else { return [] }
    return finish(identifier, entries[identifier]?.pipe.remove(instance) ?? [])
  }

  /// Ends a wait with a code; nothing if it has been answered.
  package mutating func cancel(_ wait: Pipe.Wait, _ code: ReplyCode) -> [Pipe.Action] {
    guard let identifier = waits[wait], entries[identifier]?.pipe.cancel(wait) == true else {
      return []
    }
    // What waited behind it may go on.
    return finish(identifier, [Pipe.Action(wait: wait, outcome: .refused(code))])
  }

  private func find(_ instance: InstanceID) -> (PipeID, Pipe.Instance)? {
    guard let identifier = pipes[instance],
      let found = entries[identifier]?.pipe.instances[instance]
    else { return nil }
    return (identifier, found)
  }

  /// Adds a wait and answers what can be answered.
  private mutating func wait(
    _ identifier: PipeID, _ wait: Pipe.Wait, mayNotWait: Bool = false,
    _ add: (inout Pipe) -> Void
  ) -> [Pipe.Action] {
    guard waits.count < Self.waitsMax else {
      return [Pipe.Action(wait: wait, outcome: .refused(.noServerResources))]
    }
    waits[wait] = identifier
    add(&entries[identifier]!.pipe)
    let actions = finish(identifier, [])
    guard mayNotWait, waits[wait] != nil else { return actions }
    return actions + cancel(wait, .wouldBlock)
  }

  /// Serves a pipe after a change, and ends it if nobody can come to it any more.
  private mutating func finish(
    _ identifier: PipeID, _ actions: [Pipe.Action]
  ) -> [Pipe.Action] {
    guard entries[identifier] != nil else { return actions }
    let all = actions + entries[identifier]!.pipe.serve()
    for action in all { waits[action.wait] = nil }
    if let entry = entries[identifier], entry.name == nil, entry.pipe.isUnused {
      entries[identifier] = nil
    }
    return all
  }
}
