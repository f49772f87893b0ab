import CVLinux
import VProtocol

/// The ciphers of one thread: libcrypto's working memory is nobody else's meanwhile.
final class Ciphers {
  /// Which key, and which way: a context keeps to one of both.
  enum ID: Hashable {
    case sendingMulticast, receivingMulticast
    case sending(KernelID)
    case receiving(KernelID)
  }

  private var known: [ID: Cipher] = [:]

  /// Peers whose keys a thread keeps at once; beyond it all are derived anew.
  private static let ciphersMax = 1024

  subscript(id: ID) -> Cipher? { known[id] }

  func add(_ id: ID, _ cipher: Cipher) -> Cipher {
    if known.count >= Self.ciphersMax { known.removeAll() }
    known[id] = cipher
    return cipher
  }
}

/// One derived key, set up once: AES-128-GCM with what it precomputes, and the nonce's mask.
@safe final class Cipher {
  private let context: UnsafeMutableRawPointer
  private var mask: InlineArray<12, UInt8>

  /// HKDF-SHA256 of the cluster key: 16 octets of key, 12 of mask.
  init(_ secret: [UInt8], _ info: [UInt8]) {
    var derived = [UInt8](repeating: 0, count: 28)
    let isDerived = unsafe v_hkdf(
      secret, secret.count, info, info.count, &derived, derived.count)
    guard isDerived == 1, let context = unsafe v_cipher_new(derived) else {
      preconditionFailure("libcrypto made a key")
    }
    unsafe self.context = context
    mask = InlineArray { derived[16 + $0] }
  }

  deinit { unsafe v_cipher_free(context) }

  func seal(
    _ packet: UnsafeMutableRawBufferPointer, bodyBytes: Int, from sender: KernelID,
    _ number: UInt64
  ) -> Bool {
    let base = unsafe packet.baseAddress!.assumingMemoryBound(to: UInt8.self)
    let clear = SealedPacket.clearBytes
    return unsafe nonce(sender, number).span.withUnsafeBufferPointer { nonce in
      unsafe v_seal(
        context, nonce.baseAddress, base, base + bodyBytes, base + clear,
        Int32(bodyBytes - clear), base + bodyBytes + 12) == 1
    }
  }

  func open(
    _ packet: UnsafeMutableRawBufferPointer, from sender: KernelID, _ number: UInt64
  ) -> Bool {
    let base = unsafe packet.baseAddress!.assumingMemoryBound(to: UInt8.self)
    let clear = SealedPacket.clearBytes
    let body = packet.count - SealedPacket.trailerBytes
    return unsafe nonce(sender, number).span.withUnsafeBufferPointer { nonce in
      unsafe v_open_sealed(
        context, nonce.baseAddress, base, base + body, base + clear, Int32(body - clear),
        base + body + 12) == 1
    }
  }

  /// (kernel identifier, packet number) XOR the key's mask.
  private func nonce(_ sender: KernelID, _ number: UInt64) -> InlineArray<12, UInt8> {
    var nonce = mask
    for index in 0..<4 {
      nonce[index] ^= UInt8(truncatingIfNeeded: sender.rawValue >> UInt32(24 - 8 * index))
    }
    for index in 0..<8 {
      nonce[4 + index] ^= UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * index))
    }
    return nonce
  }
}
