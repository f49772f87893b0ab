import Glibc
import VDirectory

/// Keeps the table of claims in a file of `directory`, which is made if it is missing: the claims
/// one after another, as they are spread.
///
/// A node that may not write there (one without root) has no file: other hosts send it their
/// claims.
func claimStore(in directory: String) -> ClaimStore {
  let path = "\(directory)/claims"
  return ClaimStore(
    load: { (try? readFile(path)) ?? [] },
    save: { octets in
      if mkdir(directory, 0o755) != 0 && errno != EEXIST { return }
      let new = "\(path).new"
      let descriptor = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
      guard descriptor >= 0 else { return }
      let isWritten =
        octets.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) } == octets.count
        && fsync(descriptor) == 0
      close(descriptor)
      if isWritten { rename(new, path) } else { unlink(new) }
    })
}
