import CVLinux
import Synchronization
public import VProtocol

/// Seals and opens packets with keys derived from the cluster key: AES-128-GCM in place.
///
/// One key for each ordered pair of kernels and one for multicast, all HKDF-SHA256 of the
/// cluster key; kernel identifiers are new at every boot, so old packets die with them.
public final class Sealer: Sendable {
  /// Key and nonce mask of one direction.
  struct Key: Sendable {
    var bytes: InlineArray<16, UInt8>
    var mask: InlineArray<12, UInt8>
  }

  private struct State: ~Copyable {
    var sending: [KernelID: Key] = [:]
    var receiving: [KernelID: Key] = [:]
    var windows: [WindowKey: ReplayWindow] = [:]
  }

  private struct WindowKey: Hashable {
    var sender: KernelID
    var isMulticast: Bool
  }

  private let secret: [UInt8]
  private let kernel: KernelID
  private let multicast: Key
  private let state = KernelLock(State())
  /// Starts at the boot's wall clock: no nonce repeats even if a kernel identifier did.
  private let nextNumber: Atomic<UInt64>

  /// Senders with a window; beyond it all windows start anew with the senders heard next.
  private static let sendersMax = 8192

  /// `secret`: at least 16 octets, the same on every host of the cluster.
  public init(secret: [UInt8], kernel: KernelID, wallClock: Int64) {
    self.secret = secret
    self.kernel = kernel
    multicast = Self.derive(secret, Array("v multicast".utf8))
    nextNumber = Atomic(UInt64(wallClock))
  }

  /// Seals a packet of `bodyBytes` octets in place; its buffer has room for the trailer.
  ///
  /// `receiver` nil uses the multicast key. Returns the size of the sealed packet.
  func seal(
    _ packet: UnsafeMutableRawBufferPointer, bodyBytes: Int, for receiver: KernelID?,
    with cipher: Cipher
  ) -> Int {
    let key = receiver.map { pairKey(from: kernel, to: $0, sending: true) } ?? multicast
    let number = nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue
    var span = unsafe MutableRawSpan(_unsafeBytes: packet)
    span.storeBigEndian(
      unsafe UnsafeRawBufferPointer(packet).load(fromByteOffset: 8, as: UInt32.self).bigEndian
        | 0x4000, at: 8)
    SealedPacket.Trailer(sender: kernel, number: number).emit(into: &span, at: bodyBytes)
    let isSealed = unsafe cipher.seal(
      packet, bodyBytes: bodyBytes, key: key, nonce: Self.nonce(key, kernel, number))
    precondition(isSealed, "libcrypto sealed a packet")
    return bodyBytes + SealedPacket.trailerBytes
  }

  /// Opens a sealed packet in place; returns who sealed it.
  ///
  /// `badSeal` where no key opens it, `replayed` where its number was seen.
  func open(
    _ packet: UnsafeMutableRawBufferPointer, with cipher: Cipher
  ) throws(WireError) -> KernelID {
    let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet))
    let trailer = try SealedPacket.Trailer(parsing: span)
    let isMulticast = SealedPacket.isMulticast(span)
    guard trailer.sender != kernel else { throw .badSeal }
    let key =
      isMulticast ? multicast : pairKey(from: trailer.sender, to: kernel, sending: false)
    let nonce = Self.nonce(key, trailer.sender, trailer.number)
    guard unsafe cipher.open(packet, key: key, nonce: nonce) else { throw .badSeal }
    let isNew = state.withLock { state in
      if state.windows.count >= Self.sendersMax { state.windows.removeAll() }
      let window = WindowKey(sender: trailer.sender, isMulticast: isMulticast)
      return state.windows[window, default: ReplayWindow()].accept(trailer.number)
    }
    guard isNew else { throw .replayed }
    return trailer.sender
  }

  private func pairKey(from sender: KernelID, to receiver: KernelID, sending: Bool) -> Key {
    let peer = sending ? receiver : sender
    let known = state.withLock { sending ? $0.sending[peer] : $0.receiving[peer] }
    if let known { return known }
    var info = SegmentWriter()
    info.octets("v unicast".utf8)
    info.integer(sender.rawValue)
    info.integer(receiver.rawValue)
    let key = Self.derive(secret, info.bytes)
    state.withLock { state in
      if state.sending.count + state.receiving.count >= 2 * Self.sendersMax {
        state.sending.removeAll()
        state.receiving.removeAll()
      }
      if sending { state.sending[peer] = key } else { state.receiving[peer] = key }
    }
    return key
  }

  private static func derive(_ secret: [UInt8], _ info: [UInt8]) -> Key {
    var out = [UInt8](repeating: 0, count: 28)
    let isDone = unsafe v_hkdf(secret, secret.count, info, info.count, &out, out.count)
    precondition(isDone == 1, "libcrypto derived a key")
    var key = Key(bytes: InlineArray(repeating: 0), mask: InlineArray(repeating: 0))
    for index in 0..<16 { key.bytes[index] = out[index] }
    for index in 0..<12 { key.mask[index] = out[16 + index] }
    return key
  }

  /// (kernel identifier, packet number) XOR the key's mask.
  private static func nonce(
    _ key: Key, _ sender: KernelID, _ number: UInt64
  ) -> InlineArray<12, UInt8> {
    var nonce = key.mask
    for index in 0..<4 {
      nonce[index] ^= UInt8(truncatingIfNeeded: sender.rawValue >> UInt32(24 - 8 * index))
    }
    for index in 0..<8 {
      nonce[4 + index] ^= UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * index))
    }
    return nonce
  }
}

/// libcrypto's working memory for one thread.
///
/// `@unchecked Sendable`: it belongs to one thread's context and is used by that thread only.
@safe final class Cipher: @unchecked Sendable {
  private let context: UnsafeMutableRawPointer

  init() {
    guard let context = unsafe v_cipher_new() else { preconditionFailure("out of memory") }
    unsafe self.context = context
  }

  deinit { unsafe v_cipher_free(context) }

  func seal(
    _ packet: UnsafeMutableRawBufferPointer, bodyBytes: Int, key: Sealer.Key,
    nonce: InlineArray<12, UInt8>
  ) -> Bool {
    let base = unsafe packet.baseAddress!.assumingMemoryBound(to: UInt8.self)
    let clear = SealedPacket.clearBytes
    return unsafe key.bytes.span.withUnsafeBufferPointer { key in
      unsafe nonce.span.withUnsafeBufferPointer { nonce in
        unsafe v_seal(
          context, key.baseAddress, nonce.baseAddress, base, Int32(clear), base + bodyBytes, 12,
          base + clear, Int32(bodyBytes - clear), base + bodyBytes + 12) == 1
      }
    }
  }

  func open(
    _ packet: UnsafeMutableRawBufferPointer, key: Sealer.Key, nonce: InlineArray<12, UInt8>
  ) -> Bool {
    let base = unsafe packet.baseAddress!.assumingMemoryBound(to: UInt8.self)
    let clear = SealedPacket.clearBytes
    let body = packet.count - SealedPacket.trailerBytes
    return unsafe key.bytes.span.withUnsafeBufferPointer { key in
      unsafe nonce.span.withUnsafeBufferPointer { nonce in
        unsafe v_open_sealed(
          context, key.baseAddress, nonce.baseAddress, base, Int32(clear), base + body, 12,
          base + clear, Int32(body - clear), base + body + 12) == 1
      }
    }
  }
}
