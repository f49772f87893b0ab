import Foundation
import Testing

extension LabTests {
  @Suite("Programs in /v/team", .tags(.mount), .serialized)
  struct TeamTests {
    /// Shell functions of all scripts.
    private static let functions = """
      start() { # HOST REQUEST: starts it, and makes $p the directory of the program
        exec 3<>/v/team/$1/new && printf '%s' "$2" >&3 && read -r name <&3 && p=/v/team/$1/$name
        local s=$?; exec 3>&-; return $s
      }
      field() { sed -n "s/^$1 //p" $p/status; }
      until_is() { await '[[ $(field state) == '$1' ]]'; field state; }
      count() { awk '$NF ~ "^[0-9]+[.].*/" || $NF == "new"' /v/host/moa/uio | wc -l; }
      open() { # COUNT: waits until moa has so many instances of /v/team open
        await '(($(count) == '$1'))' || cat /v/host/moa/uio; }
      opened() { # NAME: waits until somebody has a file of that name open
        await 'grep -q "/'$1'$" /v/host/moa/uio'; }

      """

    private func bash(
      _ script: String, on host: String = "kea", as user: String = "root",
      limit: Duration = .seconds(20)
    ) async throws -> Outcome {
      try await Lab.shared().bash(on: host, as: user, Self.functions + script, limit: limit)
    }

    /// The output, the input and the end of a program that is written to `new`.
    private static let core = """
      start moa $'dir: /nowhere\\nenv: A=two\\\\nlines\\n\\necho $A; echo err >&2; cat; exit 3'
      [[ $name =~ ^[0-9]+.echo$ ]] && echo named
      (exec 4>$p/in; for i in {1..500}; do echo line $i; done >&4)
      cat $p/out | md5sum; cat $p/err $p/wait; field state; field asked

      """
    private static let coreOutput =
      "named\n\(md5(of: "two lines\n" + (1...500).map { "line \($0)\n" }.joined()))  -\n"
      + "err\nexited 3\nexited 3\n/nowhere\n"

    private static func md5(of text: String) -> String {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/md5sum")
      let (input, output) = (Pipe(), Pipe())
      (process.standardInput, process.standardOutput) = (input, output)
      try? process.run()
      input.fileHandleForWriting.write(Data(text.utf8))
      try? input.fileHandleForWriting.close()
      let sum = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      return String(sum.prefix(32))
    }

    @Test("a command that is written to new runs, and its files are its streams and its end")
    func core() async throws {
      for host in Lab.hosts {
        let outcome = try await bash(Self.core, on: host)
        #expect(outcome.output == Self.coreOutput, "\(host): \(outcome.summary)")
      }
      let home = try await bash(
        """
        start moa pwd; cat $p/out
        start moa $'dir: /v/storage/kea\\n\\npwd; cat hello'; cat $p/out
        """
      )
      #expect(home.output == "/root\n/v/storage/kea\nhello from kea\n", "\(home.summary)")
    }

    @Test(
      "also when one packet in a hundred is lost",
      .disabled(if: Lab.isBridged, "the bridge makes no faults"))
    func loss() async throws {
      let lab = try await Lab.shared()
      try await lab.command("fault", ["moa", "loss", "1"])
      for _ in 0..<3 {
        let outcome = try await bash(Self.core)
        #expect(outcome.output == Self.coreOutput, "\(outcome.summary)")
      }
      try await lab.command("fault", ["moa", "off"])
    }

    @Test("it runs as the user of the same name, who alone may use its files")
    func users() async throws {
      let ann = try await bash(
        """
        start moa 'id -un; pwd; exec sleep 1000'; read line <$p/out; echo $line
        field owner; field user; field directory; stat -c '%U %a' $p/out $p/environ $p/in; echo $p
        """, as: "ann")
      let lines = ann.output.split(separator: "\n").map(String.init)
      #expect(
        lines.dropLast() == [
          "ann", "ann@kea", "ann", "/srv/home/ann", "ann 400", "ann 400", "ann 200",
        ], "\(ann.summary)")
      let path = try #require(lines.last)
      let other = try await bash(
        """
        setpriv --reuid 65534 --clear-groups bash -c '
          cat \(path)/out; cat \(path)/environ; cat \(path)/mem; echo kill >\(path)/ctl
          echo x >\(path)/in; cat \(path)/status >/dev/null' 2>&1 | grep -o 'Permission denied'
        """, on: "moa")
      #expect(
        other.output == String(repeating: "Permission denied\n", count: 5), "\(other.summary)")
      let end = try await bash(
        "p=\(path); echo kill INT >$p/ctl && cat $p/wait; cat $p/events", as: "ann")
      #expect(end.output == "killed INT\n", "\(end.summary)")
    }

    @Test("a refusal is an errno for the writer, and its words can be read afterwards")
    func refusals() async throws {
      let outcome = try await bash(
        """
        n=/v/team/moa/new
        (echo -n '  ' >$n) 2>&1 | grep -o 'Invalid.*'; cat $n
        (printf 'nothing-like-it\\0' >$n) 2>&1 | grep -o 'No such.*'; cat $n
        (echo $'class: vip\\n\\nls' >$n) 2>&1 | grep -o 'Invalid.*'; cat $n
        head -c 20000 /dev/zero | tr '\\0' x | dd of=$n bs=20000 iflag=fullblock 2>&1 |
          grep -c Invalid; cat $n
        start moa 'sleep 1000'
        (echo dance >$p/ctl) 2>&1 | grep -o 'Invalid.*'; cat $p/ctl | tail -n 1
        (echo kill NONE >$p/ctl) 2>&1 | grep -o 'Invalid.*'; cat $p/ctl | tail -n 1
        echo kill >$p/ctl; cat $p/wait; (echo kill >$p/ctl) 2>&1 | grep -o 'No such.*'
        (echo x >$p/status) 2>&1 | grep -o 'Permission.*'; (trap '' PIPE; echo x >$p/in) 2>&1 |
          grep -o 'Broken.*'
        """, as: "ann")
      #expect(
        outcome.output == """
          Invalid argument
          refused: the command is empty
          No such file or directory
          refused: no such program: nothing-like-it
          Invalid argument
          refused: class: "vip" is none of foreground, background, guest
          1
          refused: a request of 16384 octets or more begins with a line "length: OCTETS"
          Invalid argument
          refused: "dance" is no command; cat ctl lists them
          Invalid argument
          refused: kill: no signal "NONE"
          killed TERM
          No such process
          Permission denied
          Broken pipe

          """, "\(outcome.summary)")
      #expect(outcome.errors.isEmpty, "\(outcome.errors)")
    }

    @Test("suspend, resume, class and kill work, and events reports each change")
    func control() async throws {
      let outcome = try await bash(
        """
        # One process: a shell that starts another is not to be stopped while it is in vfork(2).
        start moa "exec /usr/bin/python3 -uc \
          'import itertools, time; [(print(i), time.sleep(.01)) for i in itertools.count()]'"
        cat $p/events & opened events
        echo suspend >$p/ctl; until_is suspended
        a=$(timeout 1 cat $p/out | wc -l); b=$(timeout 1 cat $p/out | wc -l)
        ((a == b)) && echo still
        echo resume >$p/ctl; until_is running
        for i in {1..50}; do (($(timeout 0.2 cat $p/out | wc -l) > b)) && echo goes && break; done
        for c in background guest foreground; do echo class $c >$p/ctl; done; field class
        echo kill STOP >$p/ctl; until_is stopped
        echo kill CONT >$p/ctl; until_is running
        ls $p/proc | grep -cx ${name%%.*}; grep -c State: $p/proc/${name%%.*}
        grep -q /bin/ $p/regions && echo mapped
        a=$(sed 's/-.*//; q' $p/regions)
        dd if=$p/mem bs=4096 skip=$((0x$a / 4096)) count=1 2>/dev/null | head -c 4 |
          tr -d '\\177'; echo
        echo kill KILL >$p/ctl; wait
        """)
      #expect(
        outcome.output.split(separator: "\n").filter { !$0.isEmpty } == [
          "suspended", "suspended", "still", "running", "running", "goes", "foreground", "stopped",
          "stopped", "running", "running", "1", "1", "mapped", "ELF",
          "killed KILL",
        ], "\(outcome.summary)")
    }

    @Test("an attached program ends with the holder of its instance of new")
    func attached() async throws {
      let outcome = try await bash(
        """
        exec 3<>/v/team/moa/new; echo $'attached: yes\\n\\nsleep 1000' >&3; read -r n <&3
        p=/v/team/moa/$n; field attached; cat $p/wait 3>&- & opened wait; exec 3>&-; wait
        f=$(mktemp)
        (exec 3<>/v/team/moa/new; echo $'attached: yes\\n\\nsleep 1000' >&3; read -r n <&3
          echo $n >$f; exec sleep 1000) & starter=$!
        await '[[ -s $f ]]'
        p=/v/team/moa/$(<$f); rm $f; cat $p/wait & w=$!; opened wait; kill -9 $starter; wait $w
        await '! [[ -d $p ]]'; ls -d $p 2>&1 | grep -o 'No such.*'
        """)
      #expect(
        outcome.output == "yes\nkilled HUP\nkilled HUP\nNo such file or directory\n",
        "\(outcome.summary)")
    }

    @Test("cmdline and environ have their size, so that tar and rsync copy them")
    func sizes() async throws {
      let outcome = try await bash(
        """
        start moa $'env: A=1\\n\\nexec sleep 1000'
        await '[[ $(tr "\\0" " " <$p/cmdline) == sleep* ]]'
        for f in cmdline environ; do (($(stat -c %s $p/$f) == $(wc -c <$p/$f))) && echo $f; done
        tar cf - -C $p cmdline | tar xOf - | tr '\\0' ' '; echo
        echo kill >$p/ctl; cat $p/wait; stat -c %s $p/cmdline
        """)
      #expect(
        outcome.output == "cmdline\nenviron\nsleep 1000 \nkilled TERM\n27\n", "\(outcome.summary)")
    }

    @Test("hundreds of waits for a program need no thread, and a signal ends each of them")
    func waiting() async throws {
      // The thread pools may have grown by the few threads that they have.
      let outcome = try await bash(
        """
        start moa 'sleep 1000'; open 0
        threads() { for i in /proc/[0-9]*; do
          [[ $(readlink $i/exe) == */vnode ]] && ls $i/task; done 2>/dev/null | wc -l; }
        before=$(threads)
        for i in {1..300}; do cat $p/wait & done 2>/dev/null
        open 300; (($(threads) <= before + 30)) && echo same
        kill -INT %1; kill -TERM %2; wait %2; echo $?
        kill -TERM $(jobs -p | head -n 250) 2>/dev/null; open 49
        echo kill >$p/ctl; wait; open 0
        """, limit: .seconds(60))
      #expect(
        outcome.output
          == "same\n143\n" + String(repeating: "killed TERM\n", count: 49), "\(outcome.summary)")
    }

    @Test("a node that is killed finds its programs again when it is started")
    func successor() async throws {
      let lab = try await Lab.shared()
      let started = try await bash(
        """
        start moa 'seq 100; mkfifo /run/go; read -r _ </run/go; rm /run/go; seq 101 200; exit 7'
        echo $p
        """)
      expectSuccess(try await lab.bash(on: "moa", "await '[[ -p /run/go ]]'"))
      try await lab.command("kill", ["moa"])
      // The rest is written, and the program ends, while there is no node.
      expectSuccess(
        try await lab.bash(on: "moa", "echo >/run/go; await '! [[ -e /run/go ]]'"))
      try await lab.command("start", ["moa"])
      let path = started.output.trimmingCharacters(in: .newlines)
      let outcome = try await bash(
        """
        p=\(path); await 'cat $p/wait 2>/dev/null'
        cat $p/out | wc -l; cat $p/out | sort -u | wc -l; field state; field user
        """)
      #expect(outcome.output == "exited 7\n200\n200\nexited 7\nroot\n", "\(outcome.summary)")
    }

    @Test("rm and grep over all of it remove, start and stop nothing, and wait for nothing")
    func harmless() async throws {
      let outcome = try await bash(
        """
        start moa 'cat; sleep 1000'
        timeout 10 rm -rf /v/team 2>/dev/null; echo $?
        timeout -s INT 3 grep -rs xyzzy /v/team >/dev/null; s=$?
        ((s == 1 || s == 2 || s == 124)) && echo $((s > 0))
        timeout -s INT 3 find /v/team -type f -exec cat {} + >/dev/null 2>&1; echo $(($? > 0))
        field state; [[ -d $p ]] && echo same
        grep ^programs /v/team/moa/status; echo kill KILL >$p/ctl; cat $p/wait; open 0
        """, limit: .seconds(40))
      #expect(
        outcome.output == "1\n1\n1\nrunning\nsame\nprograms 1\nkilled KILL\n", "\(outcome.summary)")
    }

    @Test("mount/down names programs, and with --force leaves nothing of any of them")
    func end() async throws {
      let lab = try await Lab.shared()
      expectSuccess(
        try await bash(
          """
          for i in {1..5}; do start moa 'sleep 1000 & sleep 1001'; done
          start moa true; cat $p/wait
          """
        ))
      let outcome = try await bash(
        """
        node=$(pgrep -x vnode); pgrep -xc vkeep
        groups() { find /sys/fs/cgroup -maxdepth 2 -name "v.$(readlink /proc/self/ns/pid |
          tr -dc 0-9).*" 2>/dev/null | wc -l; }
        (($(groups) >= 5)) && echo grouped
        start moa $'dir: /v/storage/moa\\n\\nexec sleep 1000'
        await '[[ $(readlink /proc/${name%%.*}/cwd) == /v/* ]]'
        \(Lab.root)/mount/down 2>&1 | grep -o 'programs would end'; kill -0 $node && echo up
        echo kill >$p/ctl; cat $p/wait; \(Lab.root)/mount/down --force | tail -n 1
        rm -rf /var/log/v-programs
        # Process 1 of the host reaps those whose node is gone.
        left() { pgrep -x 'vkeep|sleep' -a | grep -v 86400; }
        await '[[ ! $(left) ]]'; left
        ls /run/v/team | wc -l; groups
        grep -c ' /v ' /proc/self/mountinfo
        """, on: "moa")
      let count = outcome.output.split(separator: "\n").first.flatMap { Int($0) } ?? 0
      #expect(count >= 6, "\(outcome.summary)")
      #expect(
        outcome.output
          == "\(count)\ngrouped\nprograms would end\nup\nkilled TERM\n"
          + "mount/down: V is down\n0\n0\n0\n", "\(outcome.summary)")
      try await lab.command("start", ["moa"])
      expectSuccess(
        try await bash(
          "await 'cat /v/team/moa/status >/dev/null'"))
    }
  }
}
