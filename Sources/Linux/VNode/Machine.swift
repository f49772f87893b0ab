public import VProtocol
public import VTransport

/// What a node needs of its machine: a network, clocks, random numbers, threads.
///
/// `LinuxMachine` is the real one; the simulator gives each node a simulated one, so that the node
/// and its servers are the same code in both.
public protocol Machine: AnyObject, Sendable {
  /// A clock that is never set, and runs while the machine is suspended.
  var now: Time { get }
  /// Nanoseconds since 1970.
  var wallClock: Int64 { get }
  /// 64 unpredictable bits.
  func random() -> UInt64

  /// Sends packets of `stride` octets each, the last one the rest. May lose them.
  func transmit(_ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination)
  /// Starts to listen to the address of a group.
  func listen(to group: EntityID)
  /// Makes the machine call the node's `handleTimers` at `time`, or earlier.
  func wake(at time: Time)

  func watch(_ descriptor: Int32, _ handler: @escaping @Sendable () -> Void)
  func unwatch(_ descriptor: Int32)
  func after(_ span: TimeSpan, _ body: @escaping @Sendable () -> Void)
  /// Runs `work` where it may block: on a thread for that, or at once, if the caller has nothing
  /// else to do (`mayRunHere`) and the machine has another thread for events. What is more urgent
  /// comes first.
  func disk(_ priority: Priority, mayRunHere: Bool, _ work: @escaping @Sendable () -> Void)
}
