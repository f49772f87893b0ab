import CVLinux
import Glibc
import Synchronization
import VProtocol
import VTransport

/// Why a node could not open its sockets.
public struct SocketError: Error, CustomStringConvertible {
  public var description: String
}

/// The two UDP sockets of a node: its own, which sends everything, and the group socket.
///
/// All packets leave from the unicast socket, so that a reply to a packet's source always reaches
/// the right kernel.
final class Sockets: Sendable {
  let unicast: Int32
  let groups: Int32
  let port: UInt16
  private let address: UInt32
  private let groupPort: UInt16
  /// Kernels that multicast does not reach, and that get each multicast by unicast.
  private let peers: Mutex<[Locator]>
  private let joined = Mutex<Set<UInt32>>([])
  /// Set when the device has refused a segmented send.
  private let sendsSingly = Atomic(false)

  /// `address` in host byte order; a port of 0 takes any free one.
  init(
    address: UInt32, port: UInt16, groupPort: UInt16, peers: [Locator]
  ) throws(SocketError) {
    self.address = address
    self.groupPort = groupPort
    self.peers = Mutex(peers)
    let locator = Locator(ipv4: address, port: port)
    // A node that was just killed may hold the port until its last thread has ended.
    var opened = v_udp_open(address, port, 0)
    for _ in 0..<Self.bindTries where opened == -EADDRINUSE {
      usleep(100_000)
      opened = v_udp_open(address, port, 0)
    }
    unicast = opened
    guard unicast >= 0 else {
      throw SocketError(description: "cannot use \(locator): \(Self.reason(unicast))")
    }
    groups = v_udp_open(0, groupPort, 1)
    guard groups >= 0 else {
      close(unicast)
      throw SocketError(
        description: "cannot listen to groups on port \(groupPort): \(Self.reason(groups))")
    }
    self.port = UInt16(v_udp_port(unicast))
    _ = v_udp_send_groups_from(unicast, address)
  }

  deinit {
    close(unicast)
    close(groups)
  }

  func setPeers(_ new: [Locator]) { peers.withLock { $0 = new } }

  func listen(to group: EntityID) {
    let target = GroupAddress.of(group)
    guard joined.withLock({ $0.insert(target).inserted }) else { return }
    _ = v_udp_join(groups, target, address)
  }

  /// Sends the packets of a group in one call, or one by one if the device cannot do that.
  ///
  /// A packet that cannot be sent is lost, as in the network.
  func send(_ packets: UnsafeRawBufferPointer, stride: Int, to destination: Destination) {
    switch destination {
    case .peer(_, let locator):
      unsafe send(packets, stride: stride, to: locator)
    case .group(let group):
      let locator = Locator(ipv4: GroupAddress.of(group), port: groupPort)
      unsafe send(packets, stride: stride, to: locator)
      // A peer that multicast does reach refuses the second copy by its number.
      for peer in peers.withLock({ $0 }) { unsafe send(packets, stride: stride, to: peer) }
    }
  }

  private func send(_ packets: UnsafeRawBufferPointer, stride: Int, to locator: Locator) {
    if packets.count <= stride || !sendsSingly.load(ordering: .relaxed) {
      let result = unsafe v_udp_send(
        unicast, locator.ipv4, locator.port, packets.baseAddress, packets.count, stride)
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
        unicast, locator.ipv4, locator.port, packets.baseAddress! + start, size, size)
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
    var received = InlineArray<2, v_received>(repeating: v_received())
    while packetCount < packetsMax {
      var span = received.mutableSpan
      let count = unsafe span.withUnsafeMutableBufferPointer {
        unsafe v_udp_receive(
          socket, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), Self.pieceBytes,
          $0.baseAddress)
      }
      if count == -EINTR || count == -ECONNREFUSED { continue }
      guard count > 0 else { return (packetCount, true) }
      for index in 0..<Int(count) {
        let piece = received[index]
        let stride = max(1, Int(piece.stride))
        packetCount += max(1, (Int(piece.size) + stride - 1) / stride)
        let start = index * Self.pieceBytes
        let packets = unsafe UnsafeMutableRawBufferPointer(
          rebasing: buffer[start..<(start + Int(piece.size))])
        unsafe body(
          packets, stride, Locator(ipv4: piece.address, port: piece.port))
      }
      // A short count means that the queue was empty: later packets are a new event.
      if count < V_RECEIVED_MAX { return (packetCount, true) }
    }
    return (packetCount, false)
  }

  /// The largest piece that the kernel joins.
  private static let pieceBytes = 65_536
  static let receiveBytes = pieceBytes * Int(V_RECEIVED_MAX)

  /// Tenths of a second.
  private static let bindTries = 20

  private static func reason(_ result: Int32) -> String {
    unsafe String(cString: strerror(-result))
  }
}
