import Glibc

/// One end of a cable: a TAP device, which the lab then moves into a host.
///
/// It needs no segmentation offload, so every packet is a frame of its own here. The device is
/// removed when its descriptor is closed; the descriptor fails when the device was removed with its
/// host.
final class Port {
  let number: Int
  let descriptor: Int32
  /// Whether the host's cable is plugged in.
  private(set) var isPlugged = true

  /// Makes the device `p<number>` in this process's network namespace.
  init(_ number: Int) throws(SwitchFailure) {
    descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw SwitchFailure("/dev/net/tun") }
    self.number = number
    // struct ifreq: 16 octets of name, then the flags.
    var request = [UInt8](repeating: 0, count: 40)
    request.replaceSubrange(0..<16, with: (Array("p\(number)".utf8) + request).prefix(16))
    let isTapWithoutHeader: UInt16 = 0x0002 | 0x1000
    withUnsafeBytes(of: isTapWithoutHeader) { request.replaceSubrange(16..<18, with: $0) }
    let setInterface: UInt = 0x4004_54CA
    guard ioctl(descriptor, setInterface, &request) == 0 else {
      throw SwitchFailure("the device p\(number)")
    }
  }

  deinit { close(descriptor) }

  /// Pulls the cable or plugs it in again; the host's kernel sees that as well.
  func plug(_ isPlugged: Bool) throws(SwitchFailure) {
    var value: Int32 = isPlugged ? 1 : 0
    let setCarrier: UInt = 0x4004_54E2
    guard ioctl(descriptor, setCarrier, &value) == 0 else {
      throw SwitchFailure("the cable of p\(number)")
    }
    self.isPlugged = isPlugged
  }

  /// Reads one frame; returns its size, 0 if there is none, or nil if the device was removed.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
    let size = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
    if size >= 0 { return size }
    return [EAGAIN, EINTR, EIO].contains(errno) ? 0 : nil
  }

  /// A frame for which the host has no room is lost, as on any network.
  func write(_ frame: UnsafeRawBufferPointer) {
    if isPlugged { _ = Glibc.write(descriptor, frame.baseAddress, frame.count) }
  }
}

/// Why the switch cannot do something, with the last error of Linux.
struct SwitchFailure: Error, CustomStringConvertible {
  var description: String
  init(_ what: String) { description = "\(what): \(String(cString: strerror(errno)))" }
}
