import CVLinux
import VProtocol
import VSealing

/// The ciphers of one thread: no other thread uses libcrypto's working memory meanwhile.
final class Ciphers {
  private var known: [KeyID: Cipher] = [:]

  /// Peers whose ciphers a thread keeps at once; beyond it all are dropped and set up again.
  private static let ciphersMax = 1024

  subscript(id: KeyID) -> Cipher? { known[id] }

  func add(_ id: KeyID, _ cipher: Cipher) -> Cipher {
    if known.count >= Self.ciphersMax { known.removeAll() }
    known[id] = cipher
    return cipher
  }
}

/// 28 octets of HKDF-SHA256 of the cluster key: 16 of key, 12 of the nonce's mask.
struct DerivedKey: Sendable {
  fileprivate let octets: [UInt8]

  init(_ secret: [UInt8], _ info: [UInt8]) {
    var derived = [UInt8](repeating: 0, count: 28)
    let isDerived = unsafe v_hkdf(
      secret, secret.count, info, info.count, &derived, derived.count)
    precondition(isDerived == 1, "libcrypto derived a key")
    octets = derived
  }
}

/// One derived key, set up once for one thread: AES-128-GCM with what it precomputes.
@safe final class Cipher {
  private let context: UnsafeMutableRawPointer
  private var mask: InlineArray<12, UInt8>

  init(_ key: DerivedKey) {
    guard let context = unsafe v_cipher_new(key.octets) else {
      preconditionFailure("libcrypto made a cipher")
    }
    unsafe self.context = context
    mask = InlineArray { key.octets[16 + $0] }
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
