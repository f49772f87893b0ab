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
    /// One for each network that the node takes part in.
    var groups: [GroupSocket] = []
    /// The numbers of the addresses of all groups that were joined.
    var joined: Set<UInt32> = []
  }

  let unicast: Int32
  let port: UInt16
  private let family: Int32
  /// The address that the configuration names; without one the node uses all of its host.
  private let named: IPAddress?
  private let groupPort: UInt16
  private let state = Mutex(State())

  /// Without `named` the node uses all addresses of its host; a port of 0 takes any free one.
  init(named: IPAddress?, port: UInt16, groupPort: UInt16) throws(SocketError) {
    self.groupPort = groupPort
    family = v_udp_family()
    self.named = named
    let own = named ?? .any
    // A node that was just killed may hold the port until its last thread has ended.
    var opened = v_udp_open(family, v_address(own, port: port), 0)
    for _ in 0..<Self.bindTries where opened == -EADDRINUSE {
      usleep(100_000)
      opened = v_udp_open(family, v_address(own, port: port), 0)
    }
    guard opened >= 0 else {
      throw SocketError("cannot use \(Locator(own, port: port))", opened)
    }
    unicast = opened
    self.port = UInt16(max(0, v_udp_port(unicast)))
    v_udp_report_errors(unicast, family)
    // So that a port which cannot be used is found now, whatever networks there are.
    _ = try GroupSocket(
      Network(interface: 0, addresses: [], hasMulticast: false), family: family, port: groupPort,
      groups: [])
    _ = follow()
  }

  deinit { close(unicast) }

  /// The addresses of the node: the one that is named, or all that this host has now.
  var places: [Locator] {
    let all = named.map { [$0] } ?? groups.flatMap(\.network.addresses)
    return all.map { Locator($0, port: port) }
  }

  var groups: [GroupSocket] { state.withLock { $0.groups } }

  func listen(to group: EntityID) {
    let number = GroupAddress.number(of: group)
    state.withLock { state in
      guard state.joined.insert(number).inserted else { return }
      for socket in state.groups { socket.join(number) }
    }
  }

  /// Takes part in the networks that this host has now; returns the sockets that are not used any
  /// more, and the new ones; nil if Linux cannot say which networks there are.
  ///
  /// One whose addresses have changed is entered anew, because Linux may have dropped its
  /// memberships.
  func follow() -> (old: [GroupSocket], new: [GroupSocket])? {
    guard let addresses = HostAddress.all() else { return nil }
    let found = Network.usable(addresses, named: named)
    return state.withLock { state in
      let before = state.groups
      // One that cannot be opened now is tried again at the next change.
      state.groups = found.compactMap { network in
        before.first { $0.network == network }
          ?? (try? GroupSocket(network, family: family, port: groupPort, groups: state.joined))
      }
      let after = state.groups
      return (
        before.filter { one in !after.contains { $0 === one } },
        after.filter { one in !before.contains { $0 === one } }
      )
    }
  }

  /// Sends the packets of a group in one call, or one by one if the device cannot do that.
  ///
  /// A packet that cannot be sent is lost, as in the network.
  func send(_ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination) {
    switch destination {
    case .peer(_, let locator), .copy(let locator):
      unsafe send(packets, stride: stride, to: locator)
    case .group(let group):
      let number = GroupAddress.number(of: group)
      // Who hears it twice refuses the second copy by its number.
      for network in groups.lazy.map(\.network) where network.hasMulticast {
        for address in GroupAddress.addresses(number, in: network) {
          let locator = Locator(address, port: groupPort)
          unsafe send(packets, stride: stride, to: locator, by: network.interface)
        }
      }
    }
  }

  private func send(
    _ packets: UnsafeRawBufferPointer, stride: Int, to locator: Locator, by interface: UInt32 = 0
  ) {
    let name = v_address(locator.address, port: locator.port)
    let ownIPv4 = named?.ipv4 ?? 0
    let result = unsafe v_udp_send(
      unicast, family, name, interface, ownIPv4, packets.baseAddress, packets.count, stride)
    guard packets.count > stride else { return }
    switch result {
    // The device cannot divide a group, or on this way each of them must be fragmented.
    case -EIO, -EINVAL, -EMSGSIZE: break
    default: return
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
      guard count > 0 else { return (packetCount, count == -EAGAIN) }
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
    for _ in 0..<Self.reportsMax {
      let result = unsafe v_udp_error(unicast, &destination)
      guard result >= 0 else { return }
      if result == 1 { body(Locator(IPAddress(destination), port: destination.port)) }
    }
  }

  /// The largest piece that the kernel joins.
  private static let pieceBytes = 65_536
  static let receiveBytes = pieceBytes * Int(V_RECEIVED_MAX)

  /// Errors in a row after which other work comes first: each was a report of the network.
  private static let failuresMax = 8
  /// Anybody can send reports: what is left is read with the next one, or is lost.
  private static let reportsMax = 64

  /// Tenths of a second.
  private static let bindTries = 20
}
