import Synchronization
public import VProtocol

/// Seals and opens packets with keys derived from the cluster key: AES-128-GCM in place.
///
/// One key for each ordered pair of kernels and one for multicast, all HKDF-SHA256 of the
/// cluster key; kernel identifiers are new at every boot, so old packets die with them.
public final class Sealer: Sendable {
  private struct Window: Hashable {
    var sender: KernelID
    var isMulticast: Bool
  }

  private let secret: [UInt8]
  private let kernel: KernelID
  private let windows = KernelLock<[Window: ReplayWindow]>([:])
  /// Starts at the boot's wall clock: no nonce repeats even if a kernel identifier did.
  private let nextNumber: Atomic<UInt64>

  /// Senders with a window, each proven to have the cluster key; beyond it all windows start
  /// anew with the senders heard next.
  private static let windowsMax = 8192

  /// `secret`: at least 16 octets, the same on every host of the cluster.
  public init(secret: [UInt8], kernel: KernelID, wallClock: Int64) {
    self.secret = secret
    self.kernel = kernel
    nextNumber = Atomic(UInt64(wallClock))
  }

  /// Seals a packet of `bodyBytes` octets in place; its buffer has room for the trailer.
  ///
  /// `receiver` nil uses the multicast key. Returns the size of the sealed packet.
  func seal(
    _ packet: UnsafeMutableRawBufferPointer, bodyBytes: Int, for receiver: KernelID?,
    with ciphers: Ciphers
  ) -> Int {
    let id = receiver.map { Ciphers.ID.sending($0) } ?? .sendingMulticast
    let cipher = ciphers[id] ?? ciphers.add(id, makeCipher(from: kernel, to: receiver))
    let number = nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue
    var span = unsafe MutableRawSpan(_unsafeBytes: packet)
    PacketFlags.encrypted.insert(into: &span)
    SealedPacket.Trailer(sender: kernel, number: number).emit(into: &span, at: bodyBytes)
    let isSealed = unsafe cipher.seal(packet, bodyBytes: bodyBytes, from: kernel, number)
    precondition(isSealed, "libcrypto sealed a packet")
    return bodyBytes + SealedPacket.trailerBytes
  }

  /// Opens a sealed packet in place; returns who sealed it.
  ///
  /// `badSeal` where no key opens it, `replayed` where its number was seen. Nothing is kept of a
  /// sender before a packet of its own has been opened.
  func open(
    _ packet: UnsafeMutableRawBufferPointer, with ciphers: Ciphers
  ) throws(WireError) -> KernelID {
    let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet))
    let trailer = try SealedPacket.Trailer(parsing: span)
    let isMulticast = SealedPacket.isMulticast(span)
    // Its own multicasts come back to a host; its other packets, only if somebody reflects them.
    guard trailer.sender != kernel else { throw isMulticast ? .ownMulticast : .badSeal }
    let id = isMulticast ? Ciphers.ID.receivingMulticast : .receiving(trailer.sender)
    let known = ciphers[id]
    let cipher = known ?? makeCipher(from: trailer.sender, to: isMulticast ? nil : kernel)
    guard unsafe cipher.open(packet, from: trailer.sender, trailer.number) else {
      throw .badSeal
    }
    if known == nil { _ = ciphers.add(id, cipher) }
    let isNew = windows.withLock { windows in
      let window = Window(sender: trailer.sender, isMulticast: isMulticast)
      if windows.count >= Self.windowsMax && windows[window] == nil { windows.removeAll() }
      return windows[window, default: ReplayWindow()].accept(trailer.number)
    }
    guard isNew else { throw .replayed }
    return trailer.sender
  }

  /// The cipher of an ordered pair of kernels, or, without a receiver, that of all multicasts.
  private func makeCipher(from sender: KernelID, to receiver: KernelID?) -> Cipher {
    guard let receiver else { return Cipher(secret, Array("v multicast".utf8)) }
    var info = SegmentWriter()
    info.octets("v unicast".utf8)
    info.integer(sender.rawValue)
    info.integer(receiver.rawValue)
    return Cipher(secret, info.bytes)
  }
}
