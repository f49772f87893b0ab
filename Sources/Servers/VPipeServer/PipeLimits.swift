import VProtocol

/// The bounds of the pipe server, shared among principals by `Shares`.
///
/// One user can make the server keep 256 pipes of 64 KB, 1,536 requests to write of 16 KB, and the
/// rest of a block of 16 KB at each of 1,536 ends: 64 MB, and all other hosts together twice that.
package enum PipeLimits {
  /// Pipes of the host: one user's share is 256, more than a shell script makes.
  ///
  /// The maker is charged until the pipe is gone: a pipe without a name lasts as long as its ends.
  package static let pipesMax = 1024
  /// Ends of pipes: one user's share lets a thousand processes read one pipe, and leaves half of
  /// that for other work.
  package static let instancesMax = 6144
  /// Requests that wait to open, read or write: one for each end.
  package static let waitsMax = 6144
  /// Octets in a pipe: as many as a pipe of Linux holds.
  package static let bytesMax = 65_536
  /// Blocks in a pipe: they cost more than their octets.
  package static let blocksMax = 1024
  /// Records of a listing that one answer can hold: each has 128 octets and a name.
  static let recordsMax = Message.segmentBytesMax / 128
}
