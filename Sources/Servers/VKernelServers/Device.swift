import Synchronization
import VObjects
import VProtocol
import VRuntime

/// The devices of the device server: UIO objects without a store.
enum Device: String, CaseIterable, Sendable {
  /// Reads as empty, and discards what is written.
  case null
  /// Endless zeros.
  case zero
  /// Endless unpredictable octets.
  case random
  /// The time as one line: a read from the start gets the time of that read.
  case clock

  /// Seconds and nanoseconds since 1970 (GMT) as one line, of 21 octets until the year 2286.
  static func clockLine(_ wallClock: Int64) -> String {
    let nanoseconds = "\(wallClock % 1_000_000_000)"
    return "\(wallClock / 1_000_000_000)."
      + String(repeating: "0", count: max(0, 9 - nanoseconds.count)) + nanoseconds + "\n"
  }

  static let clockBytes = 21
}

/// A device as a file of the tree.
struct DeviceFile: TreeFile {
  let device: Device
  let backplane: any Backplane

  /// The attributes of a device.
  ///
  /// Positions are accepted and ignored, except by the clock, whose line has them. No device is
  /// `storage`: a second read need not give the same.
  var attributes: UIOAttributes {
    switch device {
    case .null, .zero, .random: [.readable, .writeable, .randomAccess, .multiBlock]
    case .clock: [.readable, .fixedLength, .randomAccess]
    }
  }

  var access: TreeAccess {
    TreeAccess(permissions: attributes.contains(.writeable) ? 0o666 : 0o444)
  }
  var size: UInt64 { device == .clock ? UInt64(Device.clockBytes) : 0 }

  func open(_ opening: TreeOpening, _ opened: @escaping TreeOpened) {
    opened(.success(DeviceSession(device, backplane)))
  }
}

private final class DeviceSession: TreeSession {
  private let device: Device
  private let backplane: any Backplane
  /// The line that a reader of the clock began to read.
  private let line: Mutex<[UInt8]>

  init(_ device: Device, _ backplane: any Backplane) {
    self.device = device
    self.backplane = backplane
    line = Mutex(Array(Device.clockLine(backplane.wallClock).utf8))
  }

  func read(_ count: Int, at position: UInt64, _ call: TreeCall) {
    switch device {
    case .null: call.answer(data: [])
    case .zero: call.answer(data: [UInt8](repeating: 0, count: count))
    case .random: call.answer(data: unpredictable(count))
    case .clock:
      let line = line.withLock { line in
        if position == 0 { line = Array(Device.clockLine(backplane.wallClock).utf8) }
        return line
      }
      call.answer(data: Array(line.dropFirst(Int(clamping: position)).prefix(count)))
    }
  }

  func write(_ data: [UInt8], at position: UInt64, _ call: TreeCall) {
    call.answer(count: data.count)
  }

  private func unpredictable(_ count: Int) -> [UInt8] {
    var octets: [UInt8] = []
    octets.reserveCapacity(count + 8)
    while octets.count < count {
      let value = backplane.random()
      for shift in stride(from: 0, to: 64, by: 8) {
        octets.append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
      }
    }
    return Array(octets.prefix(count))
  }
}
