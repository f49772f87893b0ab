import Foundation
import Testing

extension LabTests {
  @Suite("Pipes in /v/pipe", .tags(.mount), .serialized)
  struct PipeTests {
    /// Shell functions of all scripts: `count HOST` prints how many pipes are open there.
    private static let functions = """
      count() { grep -c " pipe/$1/" /v/host/$1/uio; }
      open() { # HOST COUNT: waits until so many are
        await '[[ $(count '$1') == '$2' ]]' || count $1
      }

      """

    private func kea(
      _ servers: Lab.Servers, _ script: String, limit: Duration = .seconds(20)
    ) async throws -> Outcome {
      try await Lab.shared(servers).bash(on: "kea", Self.functions + script, limit: limit)
    }

    /// Checksums of the octets that one host writes and another reads; the pipe is on the reader's
    /// host.
    private func sums(
      _ servers: Lab.Servers, _ writer: String, limit: Duration
    ) async throws -> Set<String> {
      let lab = try await Lab.shared(servers)
      // One user on both hosts: root of another one would be nobody.
      expectSuccess(try await lab.run(on: "kea", as: "ann", ["touch", "/v/pipe/kea/sum"]))
      async let read = lab.bash(
        on: "kea", as: "ann", "cat /v/pipe/kea/sum | sha256sum", limit: limit)
      let written = try await lab.bash(
        on: "moa", as: "ann", "\(writer) | tee /v/pipe/kea/sum | sha256sum", limit: limit)
      let sums = [try await read, written]
      for outcome in sums { expectSuccess(outcome) }
      expectSuccess(try await lab.run(on: "moa", as: "ann", ["rm", "/v/pipe/kea/sum"]))
      return Set(sums.map(\.output))
    }

    @Test(
      "one host reads what another writes, complete and in order", arguments: Lab.Servers.allCases)
    func sum(servers: Lab.Servers) async throws {
      let sums = try await sums(servers, "seq 1000000", limit: .seconds(20))
      #expect(
        sums == ["90433fcbd9e16297e6a7c1dacb1056394743194776e52f78ebf0a44b80b6b14f  -\n"])
    }

    @Test(
      "also when the network loses, doubles and reorders packets",
      .disabled(if: Lab.isBridged, "the bridge makes no faults"), arguments: Lab.Servers.allCases)
    func faults(servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      for fault in [["loss", "5"], ["dup", "2"], ["reorder", "10"]] {
        try await lab.command("fault", ["moa"] + fault)
      }
      let sums = try await sums(servers, "seq 300000", limit: .seconds(60))
      try await lab.command("fault", ["moa", "off"])
      #expect(sums.count == 1)
    }

    @Test("is opened and closed like a FIFO", arguments: Lab.hosts, Lab.Servers.allCases)
    func opening(host: String, servers: Lab.Servers) async throws {
      let outcome = try await kea(
        servers,
        """
        p=/v/pipe/\(host)/fifo
        : >$p; stat -c '%F %a %U %s' $p
        python3 - $p <<'END'
        import os, select, sys
        p = sys.argv[1]
        def refused(call, *arguments):
            try: return call(*arguments)
            except OSError as error: return error.strerror
        print(refused(os.open, p, os.O_WRONLY | os.O_NONBLOCK))
        r = os.open(p, os.O_RDONLY | os.O_NONBLOCK)
        print(os.read(r, 10))
        w = os.open(p, os.O_WRONLY)
        print(refused(os.read, r, 10), refused(os.lseek, r, 0, 1))
        for block in (b"12345", b"x" * 700, b"abc"): os.write(w, block)
        print([len(os.read(r, 1000)) for i in range(3)])
        os.write(w, b"abcdef"); print(os.read(r, 2), os.read(r, 10))
        # Linux does not wait for the last close of a file of FUSE.
        os.close(w)
        ended = select.poll(); ended.register(r, select.POLLIN); ended.poll(5000)
        print(refused(os.read, r, 5))
        rw = os.open(p, os.O_RDWR); os.write(rw, b"hi"); print(os.read(rw, 9))
        os.close(r); os.close(rw)
        END
        (head -c 1 $p >/dev/null) & yes >$p; echo $?; wait
        timeout 1 cat $p; echo $?
        (: >$p) & read -t 5 line <$p; echo $?; wait
        open \(host) 0; rm $p; ls /v/pipe/\(host) | wc -l
        """)
      #expect(
        outcome.output == """
          regular empty file 644 \(host == "kea" ? "root" : "nobody") 0
          No such device or address
          b''
          Resource temporarily unavailable Illegal seek
          [5, 700, 3]
          b'ab' b'cdef'
          b''
          b'hi'
          141
          124
          1
          0

          """, "\(outcome.summary)")
      #expect(outcome.errors == "")
    }

    @Test(
      "blocks of many writers stay whole, and each goes to one of many readers",
      arguments: Lab.Servers.allCases)
    func many(servers: Lab.Servers) async throws {
      let outcome = try await kea(
        servers,
        """
        cd $(mktemp -d); p=/v/pipe/moa/many; : >$p
        line() { printf "%0999d\\n" $1; }
        for i in {1..5}; do cat $p >in.$i & done
        for i in {1..5}; do (for j in {1..40}; do line $((i * 1000 + j)); done >$p) & done
        wait
        cat in.* | wc -lc; cat in.* | sort | uniq -d | wc -l
        cat in.* | grep -vcE '^0{995}[0-9]{4}$'
        open moa 0; rm $p
        """)
      #expect(outcome.output.split { $0 == " " || $0 == "\n" } == ["200", "200000", "0", "0"])
    }

    @Test(
      "a thousand blocked readers need no thread, and a signal ends each of them",
      arguments: Lab.Servers.allCases)
    func thousand(servers: Lab.Servers) async throws {
      let outcome = try await kea(
        servers,
        """
        p=/v/pipe/moa/thousand; : >$p
        threads() { for i in /proc/[0-9]*; do
          [[ $(readlink $i/exe) == */vnode ]] && ls $i/task; done 2>/dev/null | wc -l; }
        before=$(threads)
        for i in {1..50}; do cat $p & done 2>/dev/null
        kill -TERM %1; wait %1; echo $?
        # From here on an open does not wait, and so it can be counted.
        exec 3<>$p; open moa 50
        for i in {50..1000}; do cat $p & ((i % 50)) || open moa $((i + 1)); done 2>/dev/null
        open moa 1001; (($(threads) <= before + 30)) && echo same
        kill -TERM $(jobs -p) 2>/dev/null; wait; open moa 1; exec 3>&-; open moa 0
        rm $p; ls /v/pipe/moa | wc -l
        """, limit: .seconds(60))
      #expect(outcome.output == "143\nsame\n0\n", "\(outcome.summary)")
    }

    @Test(
      "a blocked writer does not delay other writes, chmod and rm, and can be ended",
      arguments: Lab.Servers.allCases)
    func writers(servers: Lab.Servers) async throws {
      let outcome = try await kea(
        servers,
        """
        p=/v/pipe/moa/full; : >$p
        exec 3<>$p; head -c 65536 /dev/zero >&3
        yes >$p & one=$!
        yes >$p & other=$!
        open moa 3; await "asks $one && asks $other"
        kill -TERM $other; wait $other; echo $?
        timeout 2 chmod 600 $p && timeout 2 stat -c %a $p; timeout 2 rm $p; echo $?
        kill -KILL $one; wait $one 2>/dev/null; echo $?
        exec 3>&-
        await '! grep -q " pipe/" /v/host/moa/uio'
        grep -c ' pipe/' /v/host/moa/uio
        """)
      #expect(outcome.output == "143\n600\n0\n137\n0\n", "\(outcome.summary)")
    }

    @Test("a write to a pipe without a reader gets SIGPIPE, or EPIPE if that is ignored")
    func broken() async throws {
      let outcome = try await kea(
        .inside,
        """
        p=/v/pipe/moa/gone; : >$p
        yes >$p & head -n 1 <$p; wait $!; echo $?
        (trap '' PIPE; exec yes) >$p 2>/run/yes.log & head -n 1 <$p; wait $!; echo $?
        grep -o 'Broken pipe' /run/yes.log; rm $p /run/yes.log
        """)
      #expect(outcome.output == "y\n141\ny\n1\nBroken pipe\n", "\(outcome.summary)")
    }

    @Test(
      "rights are those of a file, and only its owner removes it", arguments: Lab.Servers.allCases)
    func rights(servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      let made = try await lab.bash(
        on: "kea", as: "ann",
        "umask 077; : >/v/pipe/moa/hers && stat -c '%a %U' /v/pipe/moa/hers")
      #expect(made.output == "600 ann\n", "\(made.summary)")
      let other = try await lab.bash(
        on: "moa",
        """
        ann=$(stat -c %U /v/pipe/moa/hers); echo $ann
        setpriv --reuid 65534 --clear-groups bash -c '
          cat /v/pipe/moa/hers; : >/v/pipe/moa/hers; rm -f /v/pipe/moa/hers
          chmod 666 /v/pipe/moa/hers' 2>&1 | grep -oE 'Permission denied|not permitted'
        rmdir /v/pipe/moa 2>&1 | grep -c 'not permitted'; mkfifo /v/pipe/moa/x 2>&1 | wc -l
        """)
      #expect(
        other.output
          == "ann\nPermission denied\nPermission denied\nnot permitted\nnot permitted\n1\n1\n",
        "\(other.summary)")
      expectSuccess(try await lab.run(on: "kea", as: "ann", ["rm", "/v/pipe/moa/hers"]))
    }

    @Test(
      "the death of a writer, or of its host, is the end of the file",
      arguments: Lab.Servers.allCases)
    func death(servers: Lab.Servers) async throws {
      let lab = try await Lab.shared(servers)
      let killed = try await kea(
        servers,
        """
        p=/v/pipe/kea/dead; : >$p; chmod 666 $p
        (echo a; exec sleep 100) >$p & writer=$!
        { read -r line; echo "$line"; kill -9 $writer; cat; } <$p 2>/dev/null
        """)
      #expect(killed.output == "a\n", "\(killed.summary)")
      let shell = try lab.shell(on: "moa")
      async let read = kea(servers, "cat /v/pipe/kea/dead", limit: .seconds(30))
      _ = try shell.run("exec 3>/v/pipe/kea/dead; echo b >&3")
      try await lab.command("kill", ["moa"])
      let outcome = try await read
      #expect(outcome.isSuccess && outcome.output == "b\n", "\(outcome.summary)")
      try await lab.command("start", ["moa"])
      let end = try await kea(
        servers,
        "rm /v/pipe/kea/dead; await 'cat /v/host/moa/status >/dev/null'")
      expectSuccess(end)
    }
  }
}
