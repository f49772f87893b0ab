import Foundation
import Testing

/// Changes of a node's configuration, and their reports.
@Suite("Configurations that change")
struct ReloadTests {
  /// A node that mounts nothing, in a folder of its own, driven by a script of Python with `p`, the
  /// node; `write(TEXT)` changes the file and has it read, `saw(TEXT)` waits for the log.
  private func supervise(_ text: String, _ script: String) async throws -> Outcome {
    let products =
      ProcessInfo.processInfo.environment["V_PRODUCTS"] ?? Lab.root + "/.build/release"
    let start = #"""
      import os, signal, subprocess, sys, tempfile, time
      products, text = sys.argv[1:]
      folder = tempfile.mkdtemp()
      log, file = folder + '/log', folder + '/vnode.toml'
      front = 'host = "kea"\nmount = ""\nsocket = "%s/socket"\n' % folder
      def put(text): open(file, 'w').write(front + text.replace('DIR', folder))
      def until(done, what):
          for _ in range(400):
              if done(): return
              try: p.wait(0.02); break
              except subprocess.TimeoutExpired: pass
          raise SystemExit('not seen: %s in\n%s' % (what, open(log).read()))
      def saw(text, count=1):
          until(lambda: os.path.exists(log) and open(log).read().count(text) >= count, text)
      def write(text):
          put(text)
          p.send_signal(signal.SIGHUP)
      def ls(name):
          return subprocess.run([products + '/v', 'ls', name, '--socket', folder + '/socket'],
              stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
      put(text)
      p = subprocess.Popen([products + '/vnode', '--log', log, '--config', file])
      try:
          saw('info: ready: kea alone')

      """#
    let body = script.split(separator: "\n", omittingEmptySubsequences: false)
      .map { "    " + $0 }.joined(separator: "\n")
    let end = """

      finally:
          p.terminate()
          p.wait(10)
          subprocess.run(['rm', '-rf', folder])
      """
    return try await Program.run(
      ["python3", "-c", start + body + end, products, text], limit: .seconds(40))
  }

  @Test("exports come and go at SIGHUP, and keys that need a restart are reported")
  func exports() async throws {
    let outcome = try await supervise(
      "[[export]]\nprefix = \"a\"\npath = \"DIR\"\n",
      #"""
      assert 'vnode.toml' in ls('a'), ls('a')
      export = '[[export]]\nprefix = "b"\npath = "DIR/later"\n'
      write('port = 7\nrun = ["*@moa"]\n' + export)
      saw('warning: port = 7: taken up when the node starts anew')
      saw('info: run = ["*@moa"]')
      saw('info: export a is not served any more')
      until(lambda: 'no such name' in ls('a'), 'the end of a')
      # Its directory comes later.
      until(lambda: 'no such device' in ls('b'), 'b without its directory')
      os.mkdir(folder + '/later')
      open(folder + '/later/new', 'w').close()
      until(lambda: 'new' in ls('b'), 'b with its directory')
      write('run = 5\n')
      saw("the configuration stays as it was: %s:4: 'run' must be a list" % file)
      assert 'new' in ls('b'), ls('b')
      write('log = "error"\n' + export)
      write('run = 6\n')
      saw("'run' must be a list", 2)
      print('done')
      """#)
    #expect(outcome.output == "done\n", "\(outcome.summary)")
  }

  @Test("a key that now belongs to another user is refused at SIGHUP")
  func owner() async throws {
    guard getuid() == 0 else { return }
    let outcome = try await supervise(
      "",
      #"""
      key = folder + '/key'
      with open(os.open(key, os.O_CREAT | os.O_WRONLY, 0o600), 'w') as file_: file_.write('k' * 32)
      os.chown(key, 65534, 65534)
      write('key_file = "DIR/key"\nlog = "debug"\n')
      saw('the configuration stays as it was: %s:4: key_file = "%s": belongs to user' % (file, key))
      assert 'info: log = "debug"' not in open(log).read()
      print('done')
      """#)
    #expect(outcome.output == "done\n", "\(outcome.summary)")
  }

  @Test("a long log is begun anew, and has one line for each event")
  func rotation() async throws {
    let outcome = try await supervise(
      "",
      #"""
      open(log, 'a').write('x' * (5 << 20) + '\n')
      write('run = 5\n')
      until(lambda: os.path.exists(log + '.1'), 'the long one under another name')
      saw('error: the configuration stays as it was')
      lines = open(log).read().splitlines()
      print(len(lines), os.path.getsize(log + '.1') > 5 << 20, lines[0][4] == '-')
      """#)
    #expect(outcome.output == "1 True True\n", "\(outcome.summary)")
  }

  @Test("the journal gets priorities, and other logs do not")
  func journal() async throws {
    let script = #"""
      import os, socket, subprocess, sys
      folder, products = sys.argv[1:]
      text = 'host = "kea"\nmount = ""\nsocket = "%s/none/socket"\n' % folder
      open(folder + '/vnode.toml', 'w').write(text)
      for named in [True, False]:
          ours, theirs = socket.socketpair()
          status = os.fstat(theirs.fileno())
          stream = '%d:%d' % (status.st_dev, status.st_ino + (0 if named else 1))
          p = subprocess.Popen([products + '/vnode', '--config', folder + '/vnode.toml'],
              stderr=theirs, env=dict(os.environ, JOURNAL_STREAM=stream))
          theirs.close()
          p.wait(10)
          print(ours.recv(1000).decode().splitlines()[-1][:10])
      """#
    let products =
      ProcessInfo.processInfo.environment["V_PRODUCTS"] ?? Lab.root + "/.build/release"
    let folder = NSTemporaryDirectory() + "v-journal-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // A file in place of the folder: the socket cannot be made in it.
    try "".write(toFile: folder + "/none", atomically: false, encoding: .utf8)
    let outcome = try await Program.run(
      ["python3", "-c", script, folder, products], limit: .seconds(30))
    #expect(outcome.output == "<3>kea: ca\nvnode: kea\n", "\(outcome.summary)")
  }
}

extension LabTests {
  @Suite("Configurations that change on a host of a cluster", .tags(.mount))
  struct HostReloadTests {
    @Test("rules for programs and exports change at SIGHUP")
    func rules() async throws {
      let lab = try await Lab.shared()
      func reload(_ change: String) async throws {
        let outcome = try await lab.bash(
          on: "moa", "\(change) /etc/v/vnode.toml && pkill -HUP -x vnode")
        expectSuccess(outcome)
      }
      expectSuccess(try await lab.run(on: "kea", as: "ann", ["v", "run", "--host", "moa", "true"]))
      try await reload("cp /etc/v/vnode.toml /tmp-toml; sed -i 's/^run = .*/run = []/'")
      expectSuccess(
        try await lab.bash(on: "kea", as: "ann", "await '! v run --host moa true' 2>/dev/null"))
      expectSuccess(try await lab.run(on: "kea", ["cat", "/v/storage/moa/hello"]))
      try await reload("echo 'allow = []' >>")
      expectSuccess(
        try await lab.bash(on: "kea", "await '! cat /v/storage/moa/hello' 2>/dev/null"))
      try await reload("cp /tmp-toml")
      expectSuccess(
        try await lab.bash(
          on: "kea", as: "ann",
          "await 'v run --host moa true && cat /v/storage/moa/hello' 2>/dev/null"))
    }
  }
}
