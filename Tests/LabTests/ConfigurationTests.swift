import Foundation
import Glibc
import Testing

/// The message of a node that cannot start: one line that names the cause and the place.
@Suite("Wrong configurations")
struct ConfigurationTests {
  private static let vnode =
    (ProcessInfo.processInfo.environment["V_PRODUCTS"] ?? Lab.root + "/.build/release") + "/vnode"

  /// A configuration in a folder of its own, which is removed with it.
  private final class Folder {
    let path = NSTemporaryDirectory() + "v-configuration-\(UUID().uuidString)"
    var file: String { path + "/vnode.toml" }

    init(_ text: String) throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      try text.replacingOccurrences(of: "DIR", with: path)
        .write(toFile: file, atomically: false, encoding: .utf8)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func add(_ name: String, _ octets: Int, mode: Int) throws {
      try String(repeating: "k", count: octets)
        .write(toFile: "\(path)/\(name)", atomically: false, encoding: .utf8)
      try FileManager.default.setAttributes(
        [.posixPermissions: mode], ofItemAtPath: "\(path)/\(name)")
    }
  }

  private static let table: [(String, String)] = [
    ("hots = \"kea\"", "DIR/vnode.toml:1: unknown key 'hots'; known are host, listen"),
    ("\n\nport = 70000", "DIR/vnode.toml:3: 'port' must be a number from 0 to 65535"),
    ("port = \"61044\"", "DIR/vnode.toml:1: 'port' must be a number"),
    ("port = 61045", "DIR/vnode.toml:1: 'group_port' must be another one than port"),
    ("mount = \"v\"", "DIR/vnode.toml:1: 'mount' must be the absolute path of a directory"),
    ("mount = \"/v/../x\"", "DIR/vnode.toml:1: 'mount' must be the absolute path of a directory"),
    ("mount = \"DIR/none\"", "DIR/vnode.toml:1: mount = \"DIR/none\": No such file"),
    ("mount = \"DIR/open/\"", "DIR/vnode.toml:1: mount = \"DIR/open\": not a directory"),
    ("forget_days = 0", "DIR/vnode.toml:1: 'forget_days' must be a number from 1 to 3650"),
    ("log = \"loud\"", "DIR/vnode.toml:1: 'log' must be one of \"error\", \"warning\""),
    ("group_port = 0", "DIR/vnode.toml:1: 'group_port' must be a number from 1 to 65535"),
    ("host = \"a b\"", "DIR/vnode.toml:1: 'host' must be a name of letters, digits"),
    ("host = \"self\"", "DIR/vnode.toml:1: 'host' must be a name"),
    ("host = 5", "DIR/vnode.toml:1: 'host' must be a string in quotes"),
    ("host = \"kea", "DIR/vnode.toml:1:12: "),
    ("# first\nlisten = \"10.0.0\"", "DIR/vnode.toml:2: listen = \"10.0.0\": not an address"),
    ("listen = \"192.0.2.1\"", "DIR/vnode.toml:1: listen = \"192.0.2.1\": needs a key_file"),
    ("listen = \"127.0.0.1\"", "DIR/vnode.toml:1: listen = \"127.0.0.1\": needs a key_file"),
    ("peers = [\"192.0.2.2\"]", "DIR/vnode.toml:1: peers = \"192.0.2.2\": needs a key_file"),
    ("key_file = \"/nowhere\"", "DIR/vnode.toml:1: key_file = \"/nowhere\": No such file"),
    ("key_file = \"DIR/open\"", "DIR/vnode.toml:1: key_file = \"DIR/open\": mode 644 lets"),
    (
      "key_file = \"DIR/short\"",
      "key_file = \"DIR/short\": 15 octets; a cluster key has at least 16"
    ),
    ("key_file = \"DIR\"", "DIR/vnode.toml:1: key_file = \"DIR\": "),
    ("peers = [\"moa\"]", "DIR/vnode.toml:1: peers = \"moa\": not an address such as"),
    ("peers = [\"10.0.0.1:0\"]", "peers = \"10.0.0.1:0\": not an address such as"),
    ("peers = \"10.0.0.1\"", "DIR/vnode.toml:1: 'peers' must be a list of strings"),
    ("servers = [\"pip\"]", "DIR/vnode.toml:1: 'servers' must be a list of some of \"file\", "),
    ("servers = \"pipe\"", "DIR/vnode.toml:1: 'servers' must be a list of strings"),
    ("run = [\"ann\"]", "DIR/vnode.toml:1: 'run' must be a list of USER@HOST, '*' for all"),
    (
      "guest_user = \"root\"", "DIR/vnode.toml:1: 'guest_user' must be a user of this host, neither"
    ),
    ("guest_user = \"#7\"", "DIR/vnode.toml:1: 'guest_user' must be a user of this host, neither"),
    (
      "\nguest_user = \"no-such-user\"",
      "DIR/vnode.toml:2: guest_user = \"no-such-user\": no such user, or one who is root or nobody"
    ),
    ("programs = \"stop\"", "DIR/vnode.toml:1: 'programs' must be \"keep\" or \"end\""),
    ("socket = \"run\"", "DIR/vnode.toml:1: 'socket' must be an absolute path"),
    ("[[export]]\npath = \"/tmp\"", "DIR/vnode.toml:1: [[export]] lacks 'prefix', a name"),
    ("\n[[export]]\nprefix = \"src\"", "DIR/vnode.toml:2: [[export]] lacks 'path'"),
    (
      "[[export]]\nprefix = \"a\"\npath = \"/\"\n[[export]]\nprefix = \"b/../c\"\npath = \"/\"",
      "DIR/vnode.toml:5: 'prefix' must be names separated by single '/'"
    ),
    (
      "[[export]]\nprefix = \"a\"\npath = \"tmp\"",
      "DIR/vnode.toml:3: 'path' must be an absolute path"
    ),
    (
      "[[export]]\nprefix = \"a\"\npath = \"/\"\n[[export]]\npath = \"/\"\nprefix = \"a\"",
      "DIR/vnode.toml:6: 'prefix' must be of one export alone"
    ),
    (
      "mount = \"DIR\"\n[[export]]\nprefix = \"a\"\npath = \"DIR/sub\"",
      "DIR/vnode.toml:4: path = \"DIR/sub\" of a: lies in the mount, DIR"
    ),
    (
      "[[export]]\nprefix = \"a\"\npath = \"/tmp\"\nread_only = 1",
      "DIR/vnode.toml:4: 'read_only' must be true or false"
    ),
    ("export = 3", "DIR/vnode.toml:1: 'export' must be tables headed [[export]]"),
  ]

  @Test("are refused with file, line, key and what is allowed", arguments: table)
  func refused(text: String, message: String) async throws {
    let folder = try Folder(text)
    try folder.add("open", 32, mode: 0o644)
    try folder.add("short", 15, mode: 0o600)
    let outcome = try await Program.run(
      [Self.vnode, "--check-config", "--config", folder.file], limit: .seconds(10))
    let expected = "vnode: " + message.replacingOccurrences(of: "DIR", with: folder.path)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains(expected.dropFirst(7)), "\(outcome.errors)")
    let lines = outcome.errors.split(separator: "\n")
    #expect(lines.first?.hasPrefix("vnode: ") == true && lines.count == 1, "\(outcome.errors)")
  }

  @Test("a good one is reported as good, and shown with every key")
  func good() async throws {
    let folder = try Folder("host = \"kea\"\nport = 7\nmount = \"DIR//a \\\"b\\\"/\"\n")
    try FileManager.default.createDirectory(
      atPath: folder.path + "/a \"b\"", withIntermediateDirectories: false)
    let checked = try await Program.run(
      [Self.vnode, "--check-config", "--config", folder.file], limit: .seconds(10))
    expectSuccess(checked)
    let shown = try await Program.run(
      [Self.vnode, "--effective-config", "--config", folder.file], limit: .seconds(10))
    #expect(shown.output.hasPrefix("host = \"kea\"\nlisten = \"\"\nport = 7\n"))
    let mount = #"mount = "\#(folder.path)/a \"b\"""#
    #expect(shown.output.contains(mount + "\n"), "\(shown.output)")
    // The output is a configuration too, and means the same.
    let again = try Folder(shown.output)
    let same = try await Program.run(
      [Self.vnode, "--effective-config", "--config", again.file], limit: .seconds(10))
    #expect(same.output == shown.output, "\(same.summary)")
  }

  @Test("config/vnode.toml and vnode.toml(5) have the keys that the node has, and no others")
  func keys() async throws {
    let folder = try Folder("[[export]]\nprefix = \"a\"\npath = \"/\"\nallow = []\n")
    let shown = try await Program.run(
      [Self.vnode, "--effective-config", "--config", folder.file], limit: .seconds(10))
    let keys = Set(shown.output.matches(of: /(?m)^([a-z_]+) =/).map { String($0.1) })
    #expect(keys.count >= 20, "\(shown.summary)")
    let file = try String(contentsOfFile: Lab.root + "/config/vnode.toml", encoding: .utf8)
    #expect(Set(file.matches(of: /(?m)^# ([a-z_]+) =/).map { String($0.1) }) == keys)
    let page = try ManualTests.page("vnode.toml.5")
    #expect(Set(page.matches(of: /(?m)^\.It Ic ([a-z_]+)$/).map { String($0.1) }) == keys)
  }

  @Test("a missing export is reported, and does not keep the node from starting")
  func absentExport() async throws {
    let folder = try Folder(
      "mount = \"\"\n[[export]]\nprefix = \"a\"\npath = \"DIR/none\"\n")
    let checked = try await Program.run(
      [Self.vnode, "--check-config", "--config", folder.file], limit: .seconds(10))
    #expect(
      checked.isSuccess
        && checked.errors
          == "vnode: warning: \(folder.file):4: path = \"\(folder.path)/none\" of a: not a "
          + "directory of this host now; it is served when it is\n",
      "\(checked.summary)")
  }

  @Test(
    "a key file of another owner is refused", .enabled(if: getuid() == 0, "needs root"))
  func keyOfAnother() async throws {
    let folder = try Folder("key_file = \"DIR/key\"")
    try folder.add("key", 32, mode: 0o600)
    #expect(chown("\(folder.path)/key", 65_534, 65_534) == 0)
    let outcome = try await Program.run(
      [Self.vnode, "--check-config", "--config", folder.file], limit: .seconds(10))
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("/key\": belongs to user number 65534;"), "\(outcome.errors)")
  }

  /// A node that mounts nothing and serves one folder.
  private static let alone = """
    host = "kea"
    mount = ""
    socket = "DIR/socket"
    [[export]]
    prefix = "storage/kea"
    path = "DIR"

    """

  @Test("a port in use is named, with its host")
  func portInUse() async throws {
    let folder = try Folder(
      "port = 0\nlisten = \"127.0.0.1\"\nkey_file = \"DIR/key\"\n" + Self.alone)
    try folder.add("key", 32, mode: 0o600)
    // A node that has the port names its port.
    let script = """
      import re, socket, subprocess, sys
      s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
      s.bind(('127.0.0.1', 0))
      text = open('\(folder.file)').read().replace('port = 0', 'port = %d' % s.getsockname()[1])
      open('\(folder.file)', 'w').write(text)
      p = subprocess.run(['\(Self.vnode)', '--config', '\(folder.file)'], stderr=subprocess.PIPE)
      print(p.returncode, s.getsockname()[1], p.stderr.decode(), end='')
      """
    let outcome = try await Program.run(["python3", "-c", script], limit: .seconds(20))
    let words = outcome.output.split(separator: " ", maxSplits: 2)
    #expect(words.count == 3 && words[0] == "1", "\(outcome.summary)")
    #expect(
      words.last == "vnode: kea: cannot use 127.0.0.1:\(words[1]): Address already in use\n",
      "\(outcome.summary)")
  }

  @Test(
    "no /dev/fuse, and no directory to mount on, are named",
    .enabled(if: getuid() == 0, "needs root"))
  func noDevice() async throws {
    let folder = try Folder(
      "port = 0\n"
        + Self.alone.replacingOccurrences(
          of: "mount = \"\"", with: "mount = \"DIR/v\""))
    let without = try await Program.run(
      [
        "unshare", "--mount", "bash", "-c",
        "mkdir \(folder.path)/v; mount -t tmpfs none /dev; exec \(Self.vnode) --config "
          + folder.file,
      ], limit: .seconds(20))
    #expect(
      without.errors.contains("vnode: kea: cannot mount \(folder.path)/v: there is no /dev/fuse"),
      "\(without.summary)")
    try FileManager.default.removeItem(atPath: folder.path + "/v")
    let nowhere = try await Program.run(
      [Self.vnode, "--config", folder.file], limit: .seconds(20))
    #expect(
      nowhere.status == 1 && nowhere.errors.contains("\(folder.path)/v: no such directory"),
      "\(nowhere.summary)")
  }

  /// Starts a node, waits for its notification `said`, and goes on with a script of Python that has
  /// the node as `p`.
  private func supervise(_ configuration: String, _ script: String) async throws -> Outcome {
    let folder = try Folder(configuration)
    let start = """
      import os, socket, subprocess
      s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
      s.bind('\(folder.path)/notify')
      s.settimeout(10)
      p = subprocess.Popen(['\(Self.vnode)', '--config', '\(folder.file)'],
          env=dict(os.environ, NOTIFY_SOCKET='\(folder.path)/notify'))
      said = s.recv(200).decode()

      """
    return try await Program.run(["python3", "-c", start + script], limit: .seconds(30))
  }

  @Test("without a key a node opens no network socket")
  func noSocket() async throws {
    let outcome = try await supervise(
      Self.alone,
      """
      fds = '/proc/%d/fd/' % p.pid
      own = {os.readlink(fds + fd)[8:-1] for fd in os.listdir(fds)
             if os.readlink(fds + fd).startswith('socket:')}
      found = []
      for kind in ['tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6', 'packet']:
          for line in open('/proc/%d/net/%s' % (p.pid, kind)).read().splitlines()[1:]:
              found += [kind] if own & set(line.split()) else []
      print(len(own) > 0, found)
      p.terminate()
      p.wait(10)
      """)
    #expect(outcome.output == "True []\n", "\(outcome.summary)")
  }

  @Test("the supervisor is notified when the node is ready and when it ends")
  func notify() async throws {
    let outcome = try await supervise(
      "port = 0\n" + Self.alone,
      """
      print(said)
      p.terminate()
      print(s.recv(100).decode(), p.wait(10))
      """)
    #expect(
      outcome.output == "READY=1\nSTATUS=kea alone, no key\nSTOPPING=1 0\n",
      "\(outcome.summary)")
  }
}
