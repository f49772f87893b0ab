import Synchronization
public import VProtocol
import VSealing

/// Seals and opens packets with keys derived from the cluster key: AES-128-GCM in place.
///
/// One key for each ordered pair of kernels and one for multicast, all HKDF-SHA256 of the
/// cluster key; kernel identifiers are new at every boot, so old packets die with them.
public final class Sealer: Sendable {
  private struct Window: Hashable {
    var sender: KernelID
    var isMulticast: Bool
  }

  private struct State: Sendable {
    var keys: KeyTable<DerivedKey>
    var windows: [Window: ReplayWindow] = [:]
  }

  private let kernel: KernelID
  private let state: KernelLock<State>
  /// Starts at the wall clock of the boot: no nonce repeats even if a kernel identifier is drawn
  /// again.
  private let nextNumber: Atomic<UInt64>

  /// Senders with a window, each of which has proved that it has the cluster key; beyond it all
  /// windows are dropped.
  private static let windowsMax = 8192

  /// `secret`: at least 16 octets, the same on every host of the cluster.
  public init(secret: [UInt8], kernel: KernelID, wallClock: Int64) {
    self.kernel = kernel
    state = KernelLock(State(keys: KeyTable(own: kernel) { DerivedKey(secret, $0) }))
    nextNumber = Atomic(UInt64(wallClock))
  }

  /// Keys derived since the start of the node.
  var derivations: Int { state.withLock { $0.keys.derivations } }

  /// `kernel` is probed under the group key and may answer under that of the pair.
  func ask(_ kernel: KernelID) { state.withLock { $0.keys.ask(kernel) } }

  /// Seals a packet of `bodyBytes` octets in place; its buffer has room for the trailer.
  ///
  /// Without a `receiver` it uses the multicast key. Returns the size of the sealed packet; nil if
  /// the key must not be derived yet, and then the packet is lost.
  func seal(
    _ packet: UnsafeMutableRawBufferPointer, bodyBytes: Int, for receiver: KernelID?,
    with ciphers: Ciphers, at now: @autoclosure () -> Time
  ) -> Int? {
    let id = receiver.map { KeyID.sending($0) } ?? .sendingMulticast
    guard let cipher = try? ciphers[id] ?? ciphers.add(id, makeCipher(id, at: now()))
    else { return nil }
    let number = nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue
    var span = unsafe MutableRawSpan(_unsafeBytes: packet)
    PacketFlags.encrypted.insert(into: &span)
    SealedPacket.Trailer(sender: kernel, number: number).emit(into: &span, at: bodyBytes)
    let isSealed = unsafe cipher.seal(packet, bodyBytes: bodyBytes, from: kernel, number)
    precondition(isSealed, "libcrypto sealed a packet")
    return bodyBytes + SealedPacket.trailerBytes
  }

  /// Opens a sealed packet in place; returns the kernel that sealed it.
  ///
  /// `badSeal` if no key opens it, `unknownSender` if its sender must show itself under the group
  /// key first, `tooManyKeys` if its key must not be derived yet, `replayed` if its number was
  /// seen. Nothing is stored about a sender before a packet of it has been opened.
  func open(
    _ packet: UnsafeMutableRawBufferPointer, with ciphers: Ciphers, at now: @autoclosure () -> Time
  ) throws(WireError) -> KernelID {
    let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(packet))
    let trailer = try SealedPacket.Trailer(parsing: span)
    let isMulticast = SealedPacket.isMulticast(span)
    // Its own multicasts come back to a host; its other packets only if they are reflected.
    guard trailer.sender != kernel else { throw isMulticast ? .ownMulticast : .badSeal }
    let id = isMulticast ? KeyID.receivingMulticast : .receiving(trailer.sender)
    let known = ciphers[id]
    let cipher = if let known { known } else { try makeCipher(id, at: now()) }
    guard unsafe cipher.open(packet, from: trailer.sender, trailer.number) else {
      throw .badSeal
    }
    if known == nil { _ = ciphers.add(id, cipher) }
    let isNew = state.withLock { state in
      let window = Window(sender: trailer.sender, isMulticast: isMulticast)
      if state.windows.count >= Self.windowsMax && state.windows[window] == nil {
        state.windows.removeAll()
      }
      guard state.windows[window, default: ReplayWindow()].accept(trailer.number) else {
        return false
      }
      if known == nil || isMulticast { state.keys.expect(trailer.sender) }
      return true
    }
    guard isNew else { throw .replayed }
    return trailer.sender
  }

  private func makeCipher(_ id: KeyID, at now: Time) throws(WireError) -> Cipher {
    let derived: Result<DerivedKey, WireError> = state.withLock { state in
      do throws(WireError) {
        return .success(try state.keys.key(id, at: now))
      } catch {
        return .failure(error)
      }
    }
    return Cipher(try derived.get())
  }
}
