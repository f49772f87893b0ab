import Glibc
public import VKernel
public import VProtocol
public import VRecording
public import VRuntime
import VTransport

/// One node: the message kernel in its lock, and the code that carries out its actions.
///
/// Any thread enters, runs the kernel inline, and afterwards, outside the lock, sends the packets,
/// invokes the procedures and calls the completions of the actions. Actions that these cause are
/// queued, so that no chain of local messages deepens the stack.
///
/// It decides nothing about the protocol.
public final class Node: Backplane {
  /// The state in the lock.
  struct State: ~Copyable {
    var kernel: Kernel
    var completions: [EntityID: (id: TransactionID, body: Completion)] = [:]
    var procedures: [EntityID: Procedure] = [:]
    /// Descriptors that are passed to local clients.
    var passed: [EntityID: PassedDescriptor] = [:]
    /// Called with each kernel that has this host's name, and with nil when none has it any more.
    var nameWatch: (@Sendable (NameHolder?) -> Void)?
    /// The time at which the machine was asked to wake the node.
    var armed: Time?
    /// Is given each record of the recording, if there is one; false ends it.
    var recorder: (@Sendable ([UInt8]) -> Bool)?

    mutating func note(_ record: @autoclosure () -> KernelRecord?, at time: Time) {
      guard let recorder, let record = record() else { return }
      if !recorder(record.emitted(at: time)) { self.recorder = nil }
    }

    /// Gives the kernel a packet that was opened.
    mutating func handle(
      _ packet: UnsafeMutableRawBufferPointer, _ opened: Opened, from locator: Locator,
      isMulticast: Bool, _ step: inout Step
    ) {
      note(
        .init(
          .packet, locator, opened.sender?.rawValue ?? 0, isMulticast,
          octets: unsafe Array(packet.prefix(PacketHeader.byteCount + opened.header.dataBytes))),
        at: step.now)
      kernel.handlePacket(
        unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet)), opened.header, from: locator,
        sender: opened.sender, isMulticast: isMulticast, &step)
    }
  }

  public let host: String
  public let id: KernelID
  public let trace = TransactionTrace()
  private let version: UInt8
  let machine: any Machine
  let sealer: Sealer?
  let state: KernelLock<State>
  let contexts = ThreadContexts()

  /// Without a `secret` it sends clear packets, which only a simulated network carries.
  ///
  /// Nodes of another `version` exchange packets only with each other.
  ///
  /// A `recorder` gets what enters and leaves the kernel from its start on, for `Replay`, until it
  /// returns false; it is called in the lock.
  public init(
    host: String, machine: any Machine, secret: [UInt8]?, version: UInt8 = PacketHeader.version,
    recorder: (@Sendable ([UInt8]) -> Bool)? = nil
  ) {
    self.host = host
    self.machine = machine
    self.version = version
    // 0 would make identifiers without a kernel.
    id = KernelID(UInt32(truncatingIfNeeded: machine.random()) | 1)
    sealer = secret.map { [id] in
      Sealer(secret: $0, kernel: id, wallClock: machine.wallClock)
    }
    let (entropy, startedAt) = (machine.random(), UInt64(clamping: machine.wallClock))
    var state = State(
      kernel: Kernel(id: id, host: host, entropy: entropy, startedAt: startedAt),
      recorder: recorder)
    state.note(
      .init(
        .start, KernelRecord.format, id.rawValue, entropy, startedAt, version, octets: host.utf8),
      at: machine.now)
    self.state = KernelLock(state)
    machine.listen(to: .managerGroup)
  }

  /// From now on each multicast is also sent to these places.
  public func setPeers(_ places: [Locator]) {
    enter(.init(.peers, places)) { state, _ in state.kernel.setPeers(places) }
  }

  /// Announces this node to the others.
  public func announce() { enter(.init(.announce)) { state, step in state.kernel.announce(&step) } }

  public var counters: Counters { state.withLock { $0.kernel.counters } }

  /// Releases all servers without calling them: they reference their node, and it references them.
  public func end() {
    _ = state.withLock { state in
      defer { (state.completions, state.procedures) = ([:], [:]) }
      return (state.completions, state.procedures)
    }
  }

  // MARK: what the machine brings

  /// Takes in datagrams of one source that arrived together, each of `stride` octets but the last,
  /// and opens them in place.
  ///
  /// The kernel is entered once for all of them.
  ///
  /// `isMulticast` if they came to the address of a group.
  ///
  /// `refuse` is called for each that is not valid, with the reason; it has no other effect.
  public func handlePackets(
    _ packets: UnsafeMutableRawBufferPointer, stride: Int, from locator: Locator,
    isMulticast: Bool = false, refuse: (WireError) -> Void
  ) {
    guard packets.count > stride else {
      // The short message: no list, no allocation.
      do throws(WireError) {
        unsafe try handlePacket(packets, from: locator, isMulticast: isMulticast)
      } catch {
        refuse(error)
      }
      return
    }
    var sound: [(range: Range<Int>, Opened)] = []
    var start = 0
    while start < packets.count {
      let end = min(start + stride, packets.count)
      do throws(WireError) {
        let packet = unsafe UnsafeMutableRawBufferPointer(rebasing: packets[start..<end])
        sound.append((start..<end, unsafe try open(packet, from: locator)))
      } catch {
        refuse(error)
      }
      start = end
    }
    guard !sound.isEmpty else { return }
    enter(nil) { state, step in
      for (range, opened) in sound {
        unsafe state.handle(
          UnsafeMutableRawBufferPointer(rebasing: packets[range]), opened, from: locator,
          isMulticast: isMulticast, &step)
      }
    }
  }

  /// A valid packet, and the kernel that sealed it.
  struct Opened {
    var header: PacketHeader
    var sender: KernelID?
  }

  /// Takes in one datagram, which is opened in place.
  ///
  /// Throws the reason if it is not valid; then nothing has happened, except that an unknown sender
  /// may be probed.
  public func handlePacket(
    _ packet: UnsafeMutableRawBufferPointer, from locator: Locator, isMulticast: Bool = false
  ) throws(WireError) {
    let opened = unsafe try open(packet, from: locator)
    enter(nil) { state, step in
      unsafe state.handle(packet, opened, from: locator, isMulticast: isMulticast, &step)
    }
  }

  /// Opens or checks a packet and reads its header.
  private func open(
    _ packet: UnsafeMutableRawBufferPointer, from locator: Locator
  ) throws(WireError) -> Opened {
    let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet))
    // Checked first: another version may seal in another way.
    try PacketHeader.checkVersion(of: span, is: version)
    guard SealedPacket.isSealed(span) == (sealer != nil) else { throw .unexpectedSealing }
    var sender: KernelID?
    let bodyBytes: Int
    if let sealer {
      do throws(WireError) {
        sender = unsafe try sealer.open(
          packet, with: contexts.current.ciphers, at: machine.now)
      } catch {
        if error == .unknownSender { ask(try SealedPacket.Trailer(parsing: span).sender, locator) }
        throw error
      }
      bodyBytes = packet.count - SealedPacket.trailerBytes
    } else {
      bodyBytes = packet.count - Checksum.byteCount
      guard bodyBytes >= PacketHeader.byteCount else {
        throw .truncated(needed: PacketHeader.byteCount, found: bodyBytes)
      }
      guard Checksum.isSound(span, count: bodyBytes) else { throw .badChecksum }
    }
    return Opened(
      header: try PacketHeader(parsing: span, bodyBytes: bodyBytes, version: version),
      sender: sender)
  }

  private func ask(_ unknown: KernelID, _ locator: Locator) {
    enter(.init(.unopened, unknown.rawValue, locator)) { state, step in
      state.kernel.handleUnopened(from: unknown, at: locator, &step)
    }
  }

  /// The network reports that nobody receives packets at a locator.
  public func handleUnreachable(at locator: Locator) {
    enter(.init(.unreachable, locator)) { state, step in
      state.kernel.handleUnreachable(at: locator, &step)
    }
  }

  /// Carries out what is due.
  public func handleTimers() {
    enter(.init(.timers)) { state, step in
      state.armed = nil
      state.kernel.handleTimers(&step)
    }
  }

  // MARK: the backplane

  public var now: Time { machine.now }
  public var wallClock: Int64 { machine.wallClock }
  public func random() -> UInt64 { machine.random() }

  public func makeClient(_ user: ClientUser) -> EntityID {
    state.withLock { state in
      let client = state.kernel.makeClient(
        user: user.name, marks: user.marks, priority: user.priority)
      state.note(
        .init(
          .client, client, user.marks.rawValue, user.priority.bits, octets: user.name.utf8),
        at: machine.now)
      return client
    }
  }

  public func makeServer(knowsPrincipals: Bool, _ procedure: @escaping Procedure) -> EntityID {
    makeServer(discriminator: nil, knowsPrincipals: knowsPrincipals, procedure)
  }

  public func retire(_ entity: EntityID) {
    enter(.init(.retire, entity)) { state, step in
      state.kernel.retire(entity, &step)
      state.completions[entity] = nil
      state.procedures[entity] = nil
      state.passed[entity] = nil
    }
  }

  public func join(_ server: EntityID, group: EntityID) {
    enter(.init(.join, server, group)) { state, _ in state.kernel.join(server, group: group) }
    machine.listen(to: group)
  }

  public func send(
    _ message: Message, from client: EntityID, to server: EntityID, options: SendOptions,
    completion: @escaping Completion
  ) {
    // An entity without a number acts for no user.
    guard client.isValid else {
      return machine.after(TimeSpan(nanoseconds: 0)) {
        completion(Response(server: .none, message: Message(reply: .noServerResources)))
      }
    }
    trace.note(machine.now) { .init(client, server, message.mcb.code, at: $0) }
    let spreads = options.collectsResponses && options.spreadsResponses
    enter(
      .init(
        .send, client, server, options.timeLimit.map { UInt64(bitPattern: $0.nanoseconds) } ?? .max,
        options.collectsResponses, spreads, options.priority.bits, message,
        octets: message.segment)
    ) { state, step in
      let id = state.kernel.send(
        message, from: client, to: server, limit: options.timeLimit,
        collects: options.collectsResponses, spreads: spreads, priority: options.priority, &step)
      state.completions[client] = (id, completion)
    }
  }

  public func forward(_ request: Request, _ message: Message, to server: EntityID) {
    enter(.init(.forward, request, server, message, octets: message.segment)) { state, step in
      state.kernel.forward(request, message, to: server, &step)
    }
  }

  public func sendDatagram(_ message: Message, from client: EntityID, to server: EntityID) {
    enter(.init(.datagram, client, server, message, octets: message.segment)) { state, step in
      state.kernel.sendDatagram(message, from: client, to: server, &step)
    }
  }

  public func reply(_ message: Message, to request: Request) {
    // A datagram is not answered.
    if request.message.mcb.flags.contains(.datagram) { return }
    if request.client.kernel != id { trace.end(request.client, message.reply, at: machine.now) }
    enter(.init(.reply, request, message, octets: message.segment)) { state, step in
      state.kernel.reply(message, to: request, &step)
    }
  }

  public func reply(
    _ message: Message, to request: Request, passing descriptor: PassedDescriptor
  ) {
    state.withLock { state in
      // A nested call has no completion here, and takes none.
      if state.kernel.isWaiting(request.client, for: request.transaction),
        state.completions[request.client] != nil
      {
        state.passed[request.client] = descriptor
      }
    }
    reply(message, to: request)
  }

  public func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void) {
    machine.watch(descriptor, handler)
  }
  public func unwatch(_ descriptor: Int32) { machine.unwatch(descriptor) }
  public func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void) {
    machine.after(span, body)
  }
  /// Not on this thread while other actions of it wait: they would wait for the disk too.
  public func disk(_ priority: Priority, _ work: @escaping @Sendable () -> Void) {
    unsafe machine.disk(priority, mayRunHere: contexts.current.step.isEmpty, work)
  }

  // MARK: entering and leaving the kernel

  /// Runs `body` in the kernel, then carries out the actions; `record` is what it does.
  func enter(
    _ record: @autoclosure () -> KernelRecord?, _ body: (inout State, inout Step) -> Void
  ) {
    let context = contexts.current
    let wakeAt: Time? = state.withLock { state in
      let now = machine.now
      unsafe context.step.now = now
      // Before it is entered: a kernel that traps leaves the reason in its recording.
      state.note(record(), at: now)
      let waiting = state.recorder == nil ? 0 : unsafe context.step.actions.count
      unsafe body(&state, &context.step)
      if state.recorder != nil {
        for action in unsafe context.step.actions.dropFirst(waiting) {
          state.note(KernelRecord(action), at: now)
        }
      }
      guard let deadline = state.kernel.nextDeadline else { return nil }
      if let armed = state.armed, armed <= deadline { return nil }
      state.armed = deadline
      return deadline
    }
    if let wakeAt { machine.wake(at: wakeAt) }
    guard unsafe !context.isPerforming else { return }
    unsafe context.isPerforming = true
    while let action = unsafe context.step.popFirst() { perform(action, in: context) }
    unsafe context.isPerforming = false
  }

  private func perform(_ action: Action, in context: ThreadContext) {
    switch action {
    case .transmit(let transmission):
      transmit(transmission, in: context)
    case .invoke(let request):
      if request.client.kernel != id {
        trace.note(machine.now) {
          .init(request.client, request.server, request.message.mcb.code, at: $0)
        }
      }
      state.withLock({ $0.procedures[request.server] })?(request)
    case .respond(let client, let id, let server, let message):
      // One that another thread overtook has no transaction any more.
      guard let completion = state.withLock({ $0.completions[client] }), completion.id == id
      else { return }
      completion.body(Response(server: server, message: message))
    case .complete(let client, let server, let message):
      trace.end(client, message.reply, at: machine.now)
      let (completion, descriptor) = state.withLock { state in
        (
          state.completions.removeValue(forKey: client),
          state.passed.isEmpty ? nil : state.passed.removeValue(forKey: client)
        )
      }
      completion?.body(Response(server: server, message: message, descriptor: descriptor))
    case .nameHolderChanged(let holder):
      state.withLock({ $0.nameWatch })?(holder)
    }
  }

  /// Lays out a packet group, seals it and passes it to the machine in one piece.
  private func transmit(_ transmission: Transmission, in context: ThreadContext) {
    var receiver: KernelID?
    if case .peer(let kernel, _) = transmission.destination {
      if transmission.header.packetFlags.contains(.multicast) {
        // Sent to one kernel, in a form that it can open before it knows this one.
        sealer?.ask(kernel)
      } else {
        receiver = kernel
      }
    }
    var remaining = transmission.mask
    var end = 0
    var stride = 0
    repeat {
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: context.packets[end...])
      var span = unsafe MutableRawSpan(_unsafeBytes: room)
      let bodyBytes = transmission.emitPacket(&remaining, into: &span, version: version)
      guard let size = unsafe finish(room, bodyBytes, receiver, context) else { return }
      if stride == 0 { stride = size }
      end += size
    } while !remaining.isEmpty
    let packets = unsafe UnsafeRawBufferPointer(rebasing: context.packets[..<end])
    unsafe machine.transmit(packets, stride: stride, to: transmission.destination)
    // The same octets, so that who gets them twice refuses the second ones by their numbers.
    for place in transmission.copies {
      unsafe machine.transmit(packets, stride: stride, to: .copy(place))
    }
  }

  /// Adds the trailer; returns the size of the whole packet, or nil if it must not be sent.
  private func finish(
    _ packet: UnsafeMutableRawBufferPointer, _ bodyBytes: Int, _ receiver: KernelID?,
    _ context: ThreadContext
  ) -> Int? {
    if let sealer {
      return unsafe sealer.seal(
        packet, bodyBytes: bodyBytes, for: receiver, with: context.ciphers, at: machine.now)
    }
    var span = unsafe MutableRawSpan(_unsafeBytes: packet)
    let sum = Checksum.of(
      unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet)), count: bodyBytes)
    span.storeBigEndian(sum, at: bodyBytes)
    return bodyBytes + Checksum.byteCount
  }
}
