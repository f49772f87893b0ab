import Foundation
import Testing

extension LabTests {
  @Suite("Kernel servers in /v/host", .tags(.mount))
  struct HostFilesTests {
    private static let texts = [
      "status", "time", "entity", "uio", "device/clock", "net/stats", "net/map", "net/peers",
      "net/trace",
    ]

    @Test("every live text is read whole by every tool, and has the size that it shows")
    func liveText() async throws {
      let lab = try await Lab.shared()
      let files =
        Lab.hosts.flatMap { host in Self.texts.map { "/v/host/\(host)/\($0)" } }
        + ["version", "naming", "uio"].map { "/v/.v/\($0)" }
      // A property of the open file is compared with the tool's result of the same opening; if a
      // tool opens by name, only whole lines are checked.
      let outcome = try await lab.bash(
        on: "kea",
        """
        cd $(mktemp -d) || exit
        whole() { # NAME; what a tool left is text of whole lines, or nothing
          [[ ! -s $1 || $(tail -c 1 "$1" | od -An -tx1) == ' 0a' ]] || echo "$file: $2 left a part"
        }
        processes=$(for host in kea moa; do ls -d /v/host/$host/proc/* | head -2; done)
        for file in \(files.joined(separator: " ")) $processes; do
          python3 - "$file" <<'END' || echo "$file: python"
        import os, sys
        with open(sys.argv[1], 'rb') as f:
            size = os.fstat(f.fileno()).st_size
            data = f.read()
            assert len(data) == size, (len(data), size)
            assert os.fstat(f.fileno()).st_size == size
            f.seek(0)
            assert f.read() == data or sys.argv[1].endswith('clock')
            assert f.seek(0, 2) == size
        END
          cat $file >out && whole out cat
          head -c 1000000 $file >out && whole out head
          less $file >out && whole out less
          grep '' $file >out; whole out grep
          dd bs=7 status=none if=$file >out && whole out dd
          tee <$file >/dev/null out && whole out tee
          wc -c <$file >out && (($(<out) >= 0)) || echo "$file: wc"
          cp $file out && whole out cp
          rsync $file out && whole out rsync
          tar cf out.tar -P $file && tar xOPf out.tar >out && whole out tar
          sed -n '$p' $file | wc -l | grep -q '[01]' || echo "$file: sed"
        done
        """, limit: .seconds(60))
      expectSuccess(outcome)
      #expect(outcome.output + outcome.errors == "")
    }

    @Test("devices work locally and remotely, for every user", arguments: Lab.hosts)
    func devices(host: String) async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea", as: "ann",
        """
        cd /v/host/\(host)/device || exit
        cat null
        head -c 100 zero | wc -c
        dd if=zero bs=1M count=2 status=none | tr -d '\\0' | wc -c
        dd if=random bs=16 count=1 status=none | wc -c
        cmp -s <(head -c 1000 random) <(head -c 1000 random) || echo differ
        echo x >null && echo x >>null && dd if=/dev/zero of=null bs=1M count=1 status=none
        echo x >zero && echo $?
        now=$(date +%s); read -r clock <clock; ((${clock%.*} - now < 10 && now - ${clock%.*} < 10))
        echo $?
        exec 3<clock; read -r one <&3
        await 'exec 3<clock; read -r other <&3; [[ $other > $one ]]' && echo later
        (echo x >clock) 2>&1 | grep -c 'Permission denied'
        stat -c '%a %F %s' null clock
        """)
      #expect(
        outcome.output == """
          100
          0
          16
          differ
          0
          0
          later
          1
          666 regular empty file 0
          444 regular file 21

          """, "\(outcome.summary)")
    }

    @Test("a host's processes, time and peers are seen from the other host")
    func content() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea",
        """
        cd /v/host/moa || exit
        grep -x 'host moa' status
        grep -c "^cpus [1-9]\\|^machine $(uname -m)$" status
        now=$(date +%s); time=$(<time); ((${time%.*} - now < 10 && now - ${time%.*} < 10)); echo $?
        [[ $(ls proc | wc -l) == $(ls proc | sort -u | wc -l) && $(ls proc | wc -l) -gt 5 ]]
        echo $?
        first=$(ls proc | head -1) && grep -x "entity $first" proc/$first | wc -l
        grep -c '^peer .* kea 10.77.0.1:[0-9]* .* alive [-0-9]*$' net/peers
        grep -c '^[0-9.]* 10.77.0.1:[0-9]* kea$' net/map
        grep -c '^requestsSent [0-9]* requests$' net/stats
        readlink /v/host/self
        """)
      #expect(
        outcome.output == "host moa\n2\n0\n0\n1\n1\n1\n1\nkea\n", "\(outcome.summary)")
    }

    @Test("a program's instances are listed by the serving host, and gone 5 s after its end")
    func instances() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea",
        """
        count() { grep -c ' kea read \\(status\\|storage/moa [0-9]*\\)$' /v/host/moa/uio; }
        python3 -c '
        import os, signal
        files = [open("/v/host/moa/status") for _ in range(20)]
        files += [open("/v/storage/moa/hello") for _ in range(20)]
        print("open", flush=True)
        signal.pause()' >/tmp/holding-$$ &
        holder=$!
        await '[[ -s /tmp/holding-$$ ]]'
        count
        kill -9 $holder; wait $holder 2>/dev/null
        start=$SECONDS; await '[[ $(count) == 0 ]]'; count; ((SECONDS - start <= 6)) && echo soon
        rm /tmp/holding-$$
        """)
      #expect(outcome.output == "40\n0\nsoon\n", "\(outcome.summary)")
    }

    @Test("the numbers of instances are shown to root of the host only")
    func numbers() async throws {
      let lab = try await Lab.shared()
      for path in ["/v/.v/uio", "/v/host/kea/uio"] {
        let list = { (pattern: String) in
          "exec 3</v/storage/moa/hello 4</v/host/kea/time; head -1 \(path) | cut -d ' ' -f 1 "
            + "| grep -cxE -- '\(pattern)'"
        }
        let root = try await lab.bash(on: "kea", list("[0-9]+"))
        let user = try await lab.bash(on: "kea", as: "ann", list("-"))
        #expect(root.output == "1\n" && user.output == "1\n", "\(root.summary) \(user.summary)")
      }
    }

    @Test("nothing in /v/host and /v/.v can be removed or made")
    func removal() async throws {
      let lab = try await Lab.shared()
      let outcome = try await lab.bash(
        on: "kea",
        """
        before=$(ls /v/host /v/host/* /v/host/*/{device,net} /v/.v)
        rm -rf /v/host /v/.v; rmdir /v/host/moa /v/.v; mkdir /v/host/moa/x; touch /v/host/moa/x
        mv /v/host/moa/time /v/host/moa/x; ln -s a /v/host/moa/x; chmod 777 /v/host/moa/time
        [[ $(ls /v/host /v/host/* /v/host/*/{device,net} /v/.v) == "$before" ]] && echo same
        """)
      #expect(outcome.output == "same\n", "\(outcome.summary)")
      let refusals = outcome.errors.split(separator: "\n").map {
        $0.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
      }
      #expect(refusals.count > 20)
      #expect(Set(refusals) == ["Operation not permitted"], "\(outcome.summary)")
    }

    @Test("with a host dead, /v/host is listed at once, and only what is below it is down")
    func dead() async throws {
      let lab = try await Lab.shared()
      expectSuccess(try await lab.run(on: "kea", ["cat", "/v/host/moa/status"]))
      let shell = try lab.shell(on: "kea")
      _ = try shell.run("exec 3</v/host/moa/time; head -c 3 <&3 >/dev/null")
      try await lab.command("kill", ["moa"])
      let outcome = try await lab.bash(
        on: "kea",
        """
        cat /v/host/moa/status
        start=$(date +%s%N)
        ls /v/host | tr '\\n' ' '; ls -l /v/host | grep -c moa
        cat /v/host/moa/status; ls /v/host/moa; head -1 /v/host/kea/status
        (($(date +%s%N) - start < 2000000000)) && echo soon
        timeout 20 find /v >/dev/null; echo $?
        timeout 3 grep -rs 'no such words' /v; echo $?
        timeout 20 du -s /v >/dev/null; (($? < 2)) && echo ended
        """, limit: .seconds(60))
      #expect(
        outcome.output == "any kea moa self 1\nhost kea\nsoon\n1\n124\nended\n",
        "\(outcome.summary)")
      let down = outcome.errors.split(separator: "\n").filter { $0.hasSuffix("Host is down") }
      #expect(down.count >= 3, "\(outcome.summary)")
      try await lab.command("start", ["moa"])
      let back = try await lab.bash(
        on: "kea", "await cat /v/host/moa/status")
      #expect(back.output.hasPrefix("host moa\n"), "\(back.summary)")
      // The open text is gone with its server: no other text may replace it.
      let rest = try shell.run("cat <&3")
      #expect(rest.status == 1 && rest.output.contains("Stale file handle"), "\(rest)")
    }
  }
}
