package import VProtocol

/// The pipes of a host by name, each a state machine, the ends of all of them, and the shares of
/// their principals.
///
/// No lock, no clock, no I/O: every change returns the answers that it makes possible. A request is
/// answered by exactly one action, at once or later.
package struct PipeTable: Sendable {
  /// Never used a second time.
  package typealias PipeID = UInt64

  package struct Entry: Sendable {
    package internal(set) var pipe = Pipe()
    /// Nil once it was removed: then the pipe lasts as long as it is open.
    package internal(set) var name: [UInt8]?
    /// A user of this host, or the text of a principal that is nobody here.
    package var owner: String
    /// The principal that made it, and is charged for it until it is gone, even without a name.
    package let maker: Principal
    package var permissions: UInt32
    /// Nanoseconds since 1970.
    package var born: Int64
    package var changed: Int64
  }

  private var entries: [PipeID: Entry] = [:]
  private var names: [[UInt8]: PipeID] = [:]
  private var pipes: [Pipe.End: PipeID] = [:]
  private var waits: [Pipe.Wait: PipeID] = [:]
  private var shares: Shares
  private var gone: [PipeID] = []
  private var lastPipe: PipeID

  /// Pipes are numbered from the one after `first`.
  package init(ownHost: String, first: PipeID = 1) {
    lastPipe = first
    shares = Shares(capacity: PipeLimits.pipesMax, ownHost: ownHost)
  }

  package subscript(identifier: PipeID) -> Entry? {
    get { entries[identifier] }
    set { entries[identifier] = newValue }
  }

  package subscript(name: [UInt8]) -> PipeID? { names[name] }
  package func pipe(of end: Pipe.End) -> PipeID? { pipes[end] }

  /// The pipes with names that were made after the one with this number, in that order.
  package func named(after number: PipeID) -> [PipeID] {
    names.values.filter { $0 > number }.sorted()
  }

  /// The pipes that have ended since the last call.
  package mutating func takeGone() -> [PipeID] {
    defer { gone = [] }
    return gone
  }
}

// MARK: - Names

extension PipeTable {
  /// Makes a pipe; nil if its maker has used up its share.
  package mutating func make(
    _ name: [UInt8], owner: String, maker: Principal, permissions: UInt32, at time: Int64
  ) -> PipeID? {
    precondition(names[name] == nil, "a name is given once")
    guard shares.take(maker) else { return nil }
    lastPipe += 1
    entries[lastPipe] = Entry(
      name: name, owner: owner, maker: maker, permissions: permissions, born: time,
      changed: time)
    names[name] = lastPipe
    return lastPipe
  }

  /// Removes the name; openings that wait can no longer succeed, and end.
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

// MARK: - Ends

extension PipeTable {
  /// Opens a pipe, when the other end is open too; at once if it `isMaking` it, or opens both ends.
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
    pipes[wait] = identifier
    entries[identifier]!.pipe.add(wait, ends, isNonBlocking: isNonBlocking)
    actions.append(Pipe.Action(wait: wait, outcome: .opened))
  }

  /// Reads one block or a part of one; no octets at the end.
  package mutating func read(
    _ end: Pipe.End, count: Int, _ wait: Pipe.Wait
  ) -> [Pipe.Action] {
    guard let (identifier, mode) = find(end) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.invalidFileID))]
    }
    guard mode.ends.contains(.reads) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.notReadable))]
    }
    guard count > 0 else { return [Pipe.Action(wait: wait, outcome: .read([]))] }
    return self.wait(identifier, wait, mayNotWait: mode.isNonBlocking) { pipe in
      pipe.readings.append(Pipe.Reading(wait: wait, end: end, count: count))
    }
  }

  /// Writes one block, when there is room for it.
  package mutating func write(
    _ end: Pipe.End, _ data: [UInt8], _ wait: Pipe.Wait
  ) -> [Pipe.Action] {
    guard let (identifier, mode) = find(end) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.invalidFileID))]
    }
    guard mode.ends.contains(.writes) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.notWriteable))]
    }
    guard !data.isEmpty else { return [Pipe.Action(wait: wait, outcome: .written(0))] }
    return self.wait(identifier, wait, mayNotWait: mode.isNonBlocking) { pipe in
      pipe.writings.append(Pipe.Writing(wait: wait, end: end, data: data))
    }
  }

  /// What can be done at an end without waiting; nil if there is none of this number.
  package func readiness(of end: Pipe.End) -> Readiness? {
    find(end).flatMap { entries[$0.0]?.pipe.readiness(of: end) }
  }

  /// Tells what can be done without waiting, once something of what is wanted can.
  package mutating func look(
    _ end: Pipe.End, for wanted: Readiness, _ wait: Pipe.Wait
  ) -> [Pipe.Action] {
    guard let (identifier, _) = find(end) else {
      return [Pipe.Action(wait: wait, outcome: .refused(.invalidFileID))]
    }
    return self.wait(identifier, wait) { pipe in
      pipe.looks.append(Pipe.Look(wait: wait, end: end, wanted: wanted))
    }
  }

  package mutating func release(_ end: Pipe.End) -> [Pipe.Action] {
    guard let identifier = pipes.removeValue(forKey: end) else { return [] }
    return finish(identifier, entries[identifier]?.pipe.remove(end) ?? [])
  }

  /// Ends a wait with a code; does nothing if it has been answered.
  package mutating func cancel(_ wait: Pipe.Wait, _ code: ReplyCode) -> [Pipe.Action] {
    guard let identifier = waits[wait], entries[identifier]?.pipe.cancel(wait) == true else {
      return []
    }
    // Requests that waited behind it may proceed.
    return finish(identifier, [Pipe.Action(wait: wait, outcome: .refused(code))])
  }

  private func find(_ end: Pipe.End) -> (PipeID, Pipe.Instance)? {
    guard let identifier = pipes[end],
      let found = entries[identifier]?.pipe.instances[end]
    else { return nil }
    return (identifier, found)
  }

  /// Adds a wait and serves the pipe.
  private mutating func wait(
    _ identifier: PipeID, _ wait: Pipe.Wait, mayNotWait: Bool = false,
    _ add: (inout Pipe) -> Void
  ) -> [Pipe.Action] {
    waits[wait] = identifier
    add(&entries[identifier]!.pipe)
    let actions = finish(identifier, [])
    guard mayNotWait, waits[wait] != nil else { return actions }
    return actions + cancel(wait, .wouldBlock)
  }

  /// Serves a pipe after a change, and ends it if it has neither a name nor ends.
  private mutating func finish(
    _ identifier: PipeID, _ actions: [Pipe.Action]
  ) -> [Pipe.Action] {
    guard entries[identifier] != nil else { return actions }
    let all = actions + entries[identifier]!.pipe.serve()
    for action in all { waits[action.wait] = nil }
    if let entry = entries[identifier], entry.name == nil, entry.pipe.isUnused {
      entries[identifier] = nil
      shares.give(entry.maker)
      gone.append(identifier)
    }
    return all
  }
}
