import Glibc
import VSealing

/// The cluster key, if there is one: the octets of a file of root, or of the user who runs the
/// node, that nobody else may read.
func readKey(_ configuration: Configuration) throws -> [UInt8]? {
  guard let path = configuration.keyFile else { return nil }
  func error(_ reason: String) -> ConfigurationError {
    configuration.error("key_file", path, reason)
  }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
  guard descriptor >= 0 else { throw error(String(cString: strerror(errno))) }
  defer { close(descriptor) }
  // The status of the opened file: the path may lead elsewhere by now.
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw error(String(cString: strerror(errno))) }
  if let refusal = ClusterKeyFile.refusal(
    path: path, mode: status.st_mode, owner: status.st_uid, user: geteuid())
  {
    throw error(refusal)
  }
  guard let key = try? readAll(descriptor, path) else {
    throw error("can not be read, or is no file")
  }
  guard key.count >= 16 else {
    throw error("\(key.count) octets; a cluster key has at least 16")
  }
  return key
}

/// One line on standard error, from a program that is not a running node.
func say(_ text: String) {
  let line = "vnode: \(text)\n"
  _ = line.withCString { write(2, $0, strlen($0)) }
}
