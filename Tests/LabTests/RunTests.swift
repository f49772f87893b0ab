import Foundation
import Testing

extension LabTests {
  @Suite("v run", .tags(.mount), .serialized)
  struct RunTests {
    private func kea(
      _ script: String, as user: String = "root", limit: Duration = .seconds(20)
    ) async throws -> Outcome {
      try await Lab.shared().bash(on: "kea", as: user, script, limit: limit)
    }

    @Test(
      "gives the program's output and its exit status, locally and remotely", arguments: Lab.hosts)
    func status(host: String) async throws {
      let outcome = try await kea(
        """
        r="v run --host \(host)"
        $r sh -c 'hostname; echo err >&2; exit 7' 2>err; echo $?; cat err; rm err
        $r sh -c 'kill -TERM $$'; echo $?
        $r nothing-of-that-name; echo $?
        $r /etc/passwd; echo $?
        $r true; echo $?
        $r sh -c 'echo last; kill -KILL $$' | cat; echo ${PIPESTATUS[0]}
        """)
      #expect(
        outcome.output == "\(host)\n7\nerr\n143\n127\n126\n0\nlast\n137\n", "\(outcome.summary)")
      #expect(outcome.errors.contains("v: run: no such program: nothing-of-that-name\n"))
      #expect(outcome.errors.contains("/etc/passwd: ") && !outcome.errors.contains("err\n"))
    }

    @Test("reports its own errors with 125")
    func refusals() async throws {
      let outcome = try await kea(
        """
        for words in '--host nowhere true' '--any --each true' '--class top true' '' \
          '--host kea --host moa true' '--wait x true' '--socket /nowhere true'
        do v run $words 2>&1 | head -2; echo ${PIPESTATUS[0]}; done
        """)
      #expect(outcome.output.components(separatedBy: "\n125\n").count == 8, "\(outcome.summary)")
      #expect(outcome.output.contains("v: run: no host nowhere runs programs\n"))
      #expect(outcome.output.contains("exclude each other"))
      #expect(outcome.output.contains("One --host at a time; --each runs on all hosts."))
      let line = try await kea("v run --host moa 'echo a; echo b'; echo $?")
      #expect(line.output == "127\n", "\(line.summary)")
      #expect(
        line.errors == """
          v: run: no such program: echo a; echo b
          v: a line for a shell is run by: v run ... sh -c 'echo a; echo b'

          """)
    }

    @Test("a user's program may open its streams by their names", arguments: Lab.hosts)
    func streamNames(host: String) async throws {
      let outcome = try await kea(
        "echo in | v run --host \(host) sh -c 'cat /dev/stdin >/dev/stdout; echo err >/dev/stderr'",
        as: "ann")
      #expect(outcome.output == "in\n" && outcome.errors == "err\n", "\(outcome.summary)")
    }

    @Test("a standard stream that is closed is an empty one", arguments: Lab.hosts)
    func closedStreams(host: String) async throws {
      let outcome = try await kea(
        """
        r="timeout -k 1 5 v run --host \(host)"
        $r cat <&-; echo $?; $r sh -c 'cat; echo out' <&-; $r echo nothing >&-; echo $?
        $r sh -c 'echo err >&2; echo out' 2>&-; $r sh -c 'exit 3' <&- >&- 2>&-; echo $?
        echo text | $r cat 2>&-
        """)
      #expect(outcome.output == "0\nout\n0\nout\n3\ntext\n", "\(outcome.summary)")
      #expect(outcome.errors.isEmpty)
    }

    @Test("takes as many arguments as Linux allows, and no more")
    func manyArguments() async throws {
      let outcome = try await kea(
        """
        seq 9000 | xargs v run --host moa echo | wc -w
        a=$(head -c 131000 /dev/zero | tr '\\0' x)
        v run --host moa sh -c 'echo $# ${#8}' sh $a $a $a $a $a $a $a $a </dev/null
        (ulimit -s 100000; v run --host moa true $a $a $a $a $a $a $a $a $a $a $a $a $a $a $a $a $a)
        echo $?
        """, limit: .seconds(40))
      #expect(outcome.output == "9000\n8 131000\n126\n", "\(outcome.summary)")
      #expect(outcome.errors == "v: run: true: too many arguments\n")
    }

    @Test("its background processes go on, are listed, and take commands")
    func leftBehind() async throws {
      let outcome = try await kea(
        """
        r='timeout 10 v run --host moa'
        $r sh -c 'nohup sleep 3611 >/dev/null 2>&1 & echo one'
        # A program of a session of its own is left behind, once it has become that.
        runs='until pgrep -xf "sleep $0" >/dev/null; do :; done'
        $r setsid -f sleep 3612; $r --pty sh -c "setsid sleep 3613 & $runs; echo two" 3613
        $r sh -c "setsid sleep 3614 & $runs; exit 4" 3614; echo $?
        name=$($r --detach sh -c 'sleep 3615 & exit 0'); v wait $name; echo $?
        v ps moa | grep -c 'exited [04], 1 left'; v run --host moa pgrep -xc sleep
        v kill -s STOP $name; v kill -s CONT $name; v kill $name
        for n in $(v ps --quiet moa); do v kill $n; done
        await '[[ ! $(v ps --quiet moa) ]]'
        v ps --all moa | grep "^$name " | grep -o 'exited 0 '
        """, limit: .seconds(40))
      #expect(
        outcome.output.replacingOccurrences(of: "\r", with: "")
          == "one\ntwo\n4\n0\n5\n6\nexited 0 \n", "\(outcome.summary)")
    }

    @Test("it sees and changes the host that it runs on")
    func hostView() async throws {
      let outcome = try await kea(
        """
        r='v run --host moa'; $r pgrep -xc vnode; $r sh -c 'echo $PPID' >/dev/null
        $r sh -c 'mkdir /run/seen && mount -t tmpfs seen /run/seen'
        $r mountpoint -q /run/seen; echo $?; $r sh -c 'umount /run/seen && rmdir /run/seen'; echo $?
        """)
      #expect(outcome.output == "1\n0\n0\n", "\(outcome.summary)")
      let there = try await Lab.shared().bash(
        on: "moa", "v run sh -c 'echo $$' | { read n; [[ $n -gt 2 ]]; echo $?; }")
      #expect(there.output == "0\n", "\(there.summary)")
    }

    @Test("waits during an outage and loses no input or output; a signal ends the wait")
    func outage() async throws {
      let lab = try await Lab.shared()
      let shell = try lab.shell(on: "kea")
      _ = try shell.run(
        """
        mkfifo /tmp/feed; (exec 3>/tmp/feed; seq 40000 >&3; read x </tmp/more; seq 40000 >&3) &
        mkfifo /tmp/more
        v run --host moa sh -c 'cat; echo end; exit 6' </tmp/feed >/tmp/copy 2>/tmp/said & p=$!
        v run --host moa sleep 3621 2>/dev/null & q=$!
        await '[[ $(wc -l </tmp/copy) == 40000 && $(v ps moa | grep -c 3621) == 1 ]]'
        """)
      try await lab.command("cut", ["moa"])
      _ = try shell.run(
        "await '[[ $(</tmp/said) ]]'; kill $q; wait $q; echo x >/tmp/more")
      try await lab.command("join", ["moa"])
      let outcome = try shell.run(
        """
        wait $p; echo $?; (seq 40000; seq 40000; echo end) | cmp - /tmp/copy && cat /tmp/said
        rm /tmp/feed /tmp/more /tmp/copy /tmp/said; await '! v ps moa | grep -q 3621'; echo $?
        """)
      #expect(outcome.output == "6\nv: moa is silent; waiting\nv: moa is back\n0\n")
    }

    @Test("it outlives the node of its host: the next one finds it again, and so does v run")
    func restart() async throws {
      let lab = try await Lab.shared()
      let shell = try lab.shell(on: "kea")
      _ = try shell.run(
        "mkfifo /tmp/more; v run --host moa sh -c 'seq 1000; read x; seq 1000; exit 6' "
          + ">/tmp/copy 2>/tmp/said < <(read y </tmp/more; echo y) & p=$!; "
          + "await '[[ $(wc -l </tmp/copy) == 1000 ]]'")
      try await lab.command("kill", ["moa"])
      try await lab.command("start", ["moa"])
      let outcome = try shell.run(
        """
        echo x >/tmp/more; wait $p; echo $?; (seq 1000; seq 1000) | cmp - /tmp/copy && echo same
        rm /tmp/copy /tmp/said /tmp/more
        """)
      #expect(outcome.output == "6\nsame\n")
    }

    @Test("in a directory that this host exports it runs in the same one, and reports where")
    func exported() async throws {
      let outcome = try await kea(
        """
        mkdir -p /srv/storage/src/x; cd /srv/storage/src/x; echo text >file
        v run --host moa sh -c 'pwd; cat file' 2>&1; v run --host kea pwd
        v run --each pwd 2>/dev/null | sort; cd /; rm -r /srv/storage/src
        """)
      #expect(
        outcome.output == """
          v: running in /v/storage/kea/src/x
          /v/storage/kea/src/x
          text
          /srv/storage/src/x
          kea: /srv/storage/src/x
          moa: /v/storage/kea/src/x

          """, "\(outcome.summary)")
    }

    @Test("v shell is a login shell in the home directory there")
    func shell() async throws {
      let outcome = try await kea(
        "echo 'hostname; pwd; id -un; shopt -q login_shell && echo login; exit 3' | "
          + "v shell moa; echo $?", as: "ann")
      #expect(
        outcome.output == "moa\n/srv/home/ann\nann\nlogin\n3\n"
          || outcome.output.hasPrefix("moa\n/srv/home/ann\nann\n")
            && outcome.output.hasSuffix("3\n"),
        "\(outcome.summary)")
    }

    @Test("attach tells how to leave, and refuses another user's program")
    func attach() async throws {
      let started = try await kea("v run --host moa --detach sleep 3631", as: "root")
      let name = started.output.trimmingCharacters(in: .newlines)
      let outcome = try await kea("timeout 5 v attach \(name); echo $?", as: "ann")
      #expect(outcome.output == "125\n", "\(outcome.summary)")
      #expect(
        outcome.errors == "v: attach \(name): it is root@kea's, and no other's to attach to\n")
      let own = try await kea(
        "script -qec 'timeout 2 v attach \(name)' /dev/null </dev/null | head -1; v kill \(name)")
      #expect(own.output.contains("v: attached to \(name); ^C leaves it"), "\(own.summary)")
    }

    @Test("carries input, arguments, environment and directory")
    func carries() async throws {
      let outcome = try await kea(
        """
        export V_TEST=$'a\\nb\\\\c' XDG_TEST=no HOME=/nowhere TMPDIR=/nowhere MAKEFLAGS=-j9
        umask 027; v run --host moa sh -c 'umask; echo "<$TMPDIR$MAKEFLAGS>"'; umask 022
        cd /v/storage/kea
        v run --host moa sh -c \
          'pwd; printf "%s/" "$V_TEST" "$XDG_TEST" "$HOME"; printf "<%s>" "$@"' - \
          'two words' '' $'a\\nb'
        mkdir /srv/only-here; cd /srv/only-here
        v run --host moa pwd 2>&1
        cd /; rmdir /srv/only-here
        head -c 1000000 /dev/urandom >/tmp/run.in
        v run --host moa cat </tmp/run.in | cmp - /tmp/run.in && echo same
        v run --host moa sh -c 'head -c 1000000 /dev/zero; echo end >&2' | wc -c
        rm /tmp/run.in; v run --host moa cat </dev/null; v run --host moa yes | head -1
        yes | v run --host moa head -1; echo ${PIPESTATUS[*]}
        """)
      #expect(
        outcome.output == """
          0027
          <>
          /v/storage/kea
          a
          b\\c///root/<two words><><a
          b>v: moa has no /srv/only-here; running in /root
          /root
          same
          1000000
          y
          y
          141 0

          """, "\(outcome.summary)")
      #expect(outcome.errors == "end\n")
    }

    @Test("a program ends with whoever started it, unless it is detached")
    func ends() async throws {
      let outcome = try await kea(
        """
        count() { v ps moa | grep -c "sleep $1"; }
        v run --host moa sleep 3600 & v=$!
        await '[[ $(count 3600) == 1 ]]'; count 3600
        kill -9 $v
        await '[[ $(count 3600) == 0 ]]'; count 3600
        v run --host moa sleep 3600 & v=$!
        await '[[ $(count 3600) == 1 ]]'
        kill -HUP $v; wait $v; echo $?
        name=$(v run --host moa --detach sleep 3601); echo ${name%%/*} ${name##*.}
        count 3601; v kill $name; v wait $name; echo $?
        v ps --all moa | grep $name | grep -o 'killed TERM'; v ps moa | grep -c $name
        """, limit: .seconds(30))
      #expect(
        outcome.output == "1\n0\n129\nmoa sleep\n1\n143\nkilled TERM\n0\n", "\(outcome.summary)")
    }

    @Test("logs, wait and kill take each form of a program's name, and report an unknown one")
    func named() async throws {
      let outcome = try await kea(
        """
        program='echo out; echo err >&2; until [ -e /run/more ]; do :; done; echo more'
        name=$(v run --host moa --detach sh -c "$program")
        number=${name#moa/}; number=${number%%.*}
        { v logs -f moa/$number 2>&1 & await '[[ $(v logs $name 2>&1 | wc -l) == 2 ]]'
          v run --host moa touch /run/more; wait $!; } | sort
        v run --host moa rm /run/more
        v logs /v/team/moa/$number.sh 2>/dev/null; v wait $name; echo $?
        for verb in kill wait logs attach; do v $verb moa/1; echo $?; v $verb x; echo $?; done 2>&1
        v kill -s KILL moa/$number; echo $?
        """)
      #expect(
        outcome.output == """
          err
          more
          out
          out
          more
          0
          v: kill moa/1: no such program
          1
          v: kill: 'x' names no program; moa/12.sort, moa/12 or 12 would
          2
          v: wait moa/1: no such program
          125
          v: wait: 'x' names no program; moa/12.sort, moa/12 or 12 would
          125
          v: logs moa/1: no such program
          1
          v: logs: 'x' names no program; moa/12.sort, moa/12 or 12 would
          2
          v: attach moa/1: no such program
          125
          v: attach: 'x' names no program; moa/12.sort, moa/12 or 12 would
          125
          1

          """, "\(outcome.summary)")
    }

    @Test("--any spreads programs over the hosts, --each runs on all, --class is shown by ps")
    func many() async throws {
      let outcome = try await kea(
        """
        names=$(for i in {1..10}; do
          name=$(v run --any --detach sleep 3602) && echo $name
          await "v ps ${name%%/*} | grep -q '^$name .*running'" # it is a part of its host's load
        done)
        # Linux's own load counts too, and changes meanwhile.
        sed 's,/.*,,' <<<"$names" | sort | uniq -c | awk '$1 > 2 { print $2 }'
        v kill -s KILL $names
        v run --each sh -c 'echo one; echo two; [ $(hostname) = kea ] || exit 3' | sort; \
        echo ${PIPESTATUS[0]}
        name=$(v run --host moa --class background --detach sleep 3603)
        v ps --json moa | grep -o '"class":"background","state":"running"'
        v ps --user root | grep -c '^moa/.* root@kea  *root  *background  *running '; v kill $name
        v ps --user ann --quiet moa; v ps --processes kea | grep -c '/[0-9]*.vnode '
        v ps nowhere; echo $?
        """, limit: .seconds(30))
      #expect(
        outcome.output == """
          kea
          moa
          kea: one
          kea: two
          moa: one
          moa: two
          3
          "class":"background","state":"running"
          1
          1
          1

          """, "\(outcome.summary)")
      #expect(Self.ofThisLab(outcome.errors) == "v: ps: nowhere: no such host\n")
    }

    /// Leaves out the lines about a host that another suite removed from the lab: it is listed as
    /// down.
    private static func ofThisLab(_ lines: String) -> String {
      lines.split(separator: "\n").filter { !$0.contains(" tui: ") }.map { $0 + "\n" }.joined()
    }

    @Test("make -j8 on all hosts makes the objects that one host makes, octet for octet")
    func make() async throws {
      let outcome = try await kea(
        """
        mkdir /v/storage/kea/make; cd /v/storage/kea/make
        main='int main(void) { return 0'
        for n in {1..16}; do
          echo "int f$n(int x);" >f$n.h
          printf '#include "f%d.h"\nint f%d(int x) { return %d * x; }\n' $n $n $n >f$n.c
          main+=" + f$n(0)"
        done
        (cat f*.h; echo "$main; }") >main.c
        printf '#!/bin/sh\nhostname >>hosts\nexec gcc "$@"\n' >cc; chmod +x cc
        printf 'program: %s\n\t$(CC) -o $@ $^\n' "$(ls *.c | sed 's/c$/o/' | xargs)" >Makefile
        make -s -j2 CFLAGS='-O2 -g' && sha256sum program *.o >/tmp/one && rm program *.o
        make -s -j8 CFLAGS='-O2 -g' CC='v run --any --no-pty ./cc' && sha256sum --quiet -c /tmp/one
        echo $?; sort -u hosts; wc -l <hosts; v run --any ./program; echo $?
        rm -r /v/storage/kea/make /tmp/one
        """, limit: .seconds(60))
      #expect(outcome.output == "0\nkea\nmoa\n18\n0\n", "\(outcome.summary)")
    }

    @Test("a lost host gives 125, at once if it is known, and delays nobody else")
    func lost() async throws {
      let lab = try await Lab.shared()
      let shell = try lab.shell(on: "kea")
      _ = try shell.run(
        "for i in 1 2; do v run --host moa --wait 0 sleep 3604 2>lost.$i & done; "
          + "await '[[ $(v ps moa | grep -c \"sleep 3604\") == 2 ]]'")
      try await lab.command("cut", ["moa"])
      let lost = try shell.run("wait %1; echo $?; wait %2; echo $?; cat lost.*; rm lost.*")
      let then = try shell.run(
        """
        v run --host moa true; echo $?; v ps | tail -1; echo ${PIPESTATUS[0]}
        v run --any hostname; v run --each hostname; echo $?
        """)
      try await lab.command("join", ["moa"])
      #expect(lost.output.contains(/^125\n125\n(v: moa\/[0-9]+.sleep: host is down\n){2}$/))
      #expect(then.output.hasPrefix("v: run moa: host is down\n125\n"), "\(then.output)")
      #expect(then.output.contains("v: ps: moa: host is down\n"))
      #expect(
        Self.ofThisLab(then.output)
          .hasSuffix("1\nkea\nv: run moa: host is down\nkea: kea\n125\n"))
      let back = try await kea(
        """
        await 'v run --host moa true 2>/dev/null'
        await '! v ps moa | grep -q "sleep 3604"'
        """, limit: .seconds(40))
      expectSuccess(back)
    }
  }
}
