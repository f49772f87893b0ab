import CVLinux
import Glibc
import Synchronization
import VProtocol
import VTransport

/// Why a node could not open its sockets.
public struct SocketError: Error, CustomStringConvertible {
  public var description: String
}

extension SocketError {
  /// `result` is the negative number of Linux's reason.
  init(_ what: String, _ result: Int32) {
    description = unsafe "\(what): \(String(cString: strerror(-result)))"
  }
}

/// The UDP sockets of a node: its own, which sends everything, and one for each network that hears
/// the groups there.
///
/// All packets leave from the unicast socket, so that a reply to a packet's source always reaches
/// the right kernel. Without an address of its own it has all of this host, and Linux's routes
/// choose the one that a packet leaves with.
final class Sockets: Sendable {
  private struct State {
    var networks: Networks
    var groups: [UInt32: GroupSocket] = [:]
    /// The numbers of the addresses of all groups that were joined.
    var joined: Set<UInt32> = []
    /// Kernels that multicast does not reach, and that get each multicast by unicast.
    var peers: [Locator]
  }

  let unicast: Int32
  let port: UInt16
  private let family: Int32
  /// 0 if the node uses all addresses of its host.
  private let ownIPv4: UInt32
  private let groupPort: UInt16
  private let state: Mutex<State>
  /// Set when the device has refused a segmented send.
  private let sendsSingly = Atomic(false)

  /// Without `named` the node uses all addresses of its host; a port of 0 takes any free one.
  init(
    named: IPAddress?, port: UInt16, groupPort: UInt16, peers: [Locator]
  ) throws(SocketError) {
    self.groupPort = groupPort
    family = v_udp_family()
    ownIPv4 = named?.ipv4 ?? 0
    state = Mutex(State(networks: Networks(named: named), peers: peers))
    let own = named ?? .any
    // A node that was just killed may hold the port until its last thread has ended.
    var opened = v_udp_open(family, v_address(own, port: port), 0)
    for _ in 0..<Self.bindTries where opened == -EADDRINUSE {
      usleep(100_000)
      opened = v_udp_open(family, v_address(own, port: port), 0)
    }
    unicast = opened
    self.port = UInt16(max(0, v_udp_port(unicast)))
    v_udp_report_errors(unicast, family)
    guard unicast >= 0 else {
      throw SocketError("cannot use \(Locator(own, port: port))", unicast)
    }
    // So that a port which cannot be used is found now, whatever networks there are.
    _ = try GroupSocket(
      Network(interface: 0, addresses: [], hasMulticast: false), family: family, port: groupPort,
      groups: [])
    _ = follow()
  }

  deinit { if unicast >= 0 { close(unicast) } }

  func setPeers(_ new: [Locator]) { state.withLock { $0.peers = new } }

  /// The addresses of the node: the one that is named, or all that this host has now.
  var places: [Locator] {
    state.withLock { state in
      let all = state.networks.named.map { [$0] } ?? state.networks.list.flatMap(\.addresses)
      return all.map { Locator($0, port: port) }
    }
  }

  var groups: [GroupSocket] { state.withLock { Array($0.groups.values) } }

  func listen(to group: EntityID) {
    let number = GroupAddress.number(of: group)
    state.withLock { state in
      guard state.joined.insert(number).inserted else { return }
      for socket in state.groups.values { socket.join(number) }
    }
  }

  /// Takes part in the networks that this host has now; returns the sockets that are not used any
  /// more, and the new ones.
  func follow() -> (old: [GroupSocket], new: [GroupSocket]) {
    state.withLock { state in
      let change = state.networks.update(HostAddress.all())
      let old = change.left.compactMap { state.groups.removeValue(forKey: $0.interface) }
      let new = change.entered.compactMap { network in
        try? GroupSocket(network, family: family, port: groupPort, groups: state.joined)
      }
      for socket in new { state.groups[socket.network.interface] = socket }
      return (old, new)
    }
  }

  /// Sends the packets of a group in one call, or one by one if the device cannot do that.
  ///
  /// A packet that cannot be sent is lost, as in the network.
  func send(_ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination) {
    switch destination {
    case .peer(_, let locator):
      unsafe send(packets, stride: stride, to: locator)
    case .group(let group):
      let number = GroupAddress.number(of: group)
      let (networks, peers) = state.withLock { ($0.networks.list, $0.peers) }
      // Who hears it twice refuses the second copy by its number.
      for network in networks where network.hasMulticast {
        for address in GroupAddress.addresses(number, in: network) {
          let locator = Locator(address, port: groupPort)
          unsafe send(packets, stride: stride, to: locator, by: network.interface)
        }
      }
      for peer in peers { unsafe send(packets, stride: stride, to: peer) }
    }
  }

  private func send(
    _ packets: UnsafeRawBufferPointer, stride: Int, to locator: Locator, by interface: UInt32 = 0
  ) {
    let name = v_address(locator.address, port: locator.port)
    if packets.count <= stride || !sendsSingly.load(ordering: .relaxed) {
      let result = unsafe v_udp_send(
        unicast, family, name, interface, ownIPv4, packets.baseAddress, packets.count, stride)
      guard packets.count > stride else { return }
      switch result {
      case -EIO: sendsSingly.store(true, ordering: .relaxed)
      // On this way each of them must be fragmented.
      case -EINVAL, -EMSGSIZE: break
      default: return
      }
    }
    var start = 0
    while start < packets.count {
      let size = min(stride, packets.count - start)
      _ = unsafe v_udp_send(
        unicast, family, name, interface, ownIPv4, packets.baseAddress! + start, size, size)
      start += size
    }
  }

  /// Reads the packets that wait on `socket`, about `packetsMax` of them, and passes on those that
  /// arrived together, with their size, to be opened in place.
  ///
  /// `buffer` has `receiveBytes` octets. Returns how many came, and whether the socket is empty.
  func drain(
    _ socket: Int32, into buffer: UnsafeMutableRawBufferPointer, packetsMax: Int,
    _ body: (UnsafeMutableRawBufferPointer, _ stride: Int, Locator) -> Void
  ) -> (packets: Int, isEmptied: Bool) {
    var packetCount = 0
    var failures = 0
    var received = InlineArray<2, v_received>(repeating: v_received())
    while packetCount < packetsMax {
      var span = received.mutableSpan
      let count = unsafe span.withUnsafeMutableBufferPointer {
        unsafe v_udp_receive(
          socket, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), Self.pieceBytes,
          $0.baseAddress)
      }
      // What the network said of a packet that was sent; it is said once, instead of receiving.
      if count < 0, count != -EAGAIN, failures < Self.failuresMax {
        failures += 1
        continue
      }
      guard count > 0 else { return (packetCount, true) }
      for index in 0..<Int(count) {
        let piece = received[index]
        let stride = max(1, Int(piece.stride))
        packetCount += max(1, (Int(piece.size) + stride - 1) / stride)
        let start = index * Self.pieceBytes
        let packets = unsafe UnsafeMutableRawBufferPointer(
          rebasing: buffer[start..<(start + Int(piece.size))])
        unsafe body(
          packets, stride, Locator(IPAddress(piece.source), port: piece.source.port))
      }
      // A short count means that the queue was empty: later packets are a new event.
      if count < V_RECEIVED_MAX { return (packetCount, true) }
    }
    return (packetCount, false)
  }

  /// Passes on the destinations of earlier packets that the network reports as unreachable.
  func readReports(_ body: (Locator) -> Void) {
    var destination = v_address()
    while true {
      let result = unsafe v_udp_error(unicast, &destination)
      guard result >= 0 else { return }
      if result == 1 { body(Locator(IPAddress(destination), port: destination.port)) }
    }
  }

  /// The largest piece that the kernel joins.
  private static let pieceBytes = 65_536
  static let receiveBytes = pieceBytes * Int(V_RECEIVED_MAX)

  private static let failuresMax = 8

  /// Tenths of a second.
  private static let bindTries = 20
}
