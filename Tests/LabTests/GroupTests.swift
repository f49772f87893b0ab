import Foundation
import Testing

extension LabTests {
  @Suite("Groups in /v/group", .tags(.mount), .serialized)
  struct GroupTests {
    private func expect(
      _ script: String, on host: String = "kea", as user: String = "ann", prints text: String
    ) async throws {
      let outcome = try await Lab.shared().bash(
        on: host, as: user, "cd /v/group; " + script, limit: .seconds(20))
      #expect(outcome.output == text, "\(outcome.summary)")
    }

    @Test("mkdir, touch, send, read and rm, on two hosts")
    func life() async throws {
      try await expect(
        "mkdir parrots; stat -c '%U %a' parrots; touch parrots/members/polly; ls parrots/members",
        prints: "ann 755\npolly\n")
      try await expect(
        "touch parrots/members/polly; ls parrots/members; grep -E 'owner|members' parrots/status",
        on: "moa", prints: "kea:polly\npolly\nowner ann\nmembers 2\n")
      try await expect(
        "echo hello >parrots/send; cat parrots/send",
        prints: "kea:polly: taken\nmoa:polly: taken\n")
      try await expect(
        "exec 3<>parrots/send; echo again >&3; cat <&3",
        prints: "kea:polly: taken\nmoa:polly: taken\n")
      try await expect(
        "exec 3<parrots/members/polly; read -ru3 a; read -ru3 b; echo $a; echo $b; "
          + "timeout 0.5 cat <&3; echo $?",
        on: "moa", prints: "ann@kea: hello\nann@kea: again\n124\n")
      try await expect(
        "echo more >parrots/datagram; "
          + "timeout 2 dd bs=100 count=1 status=none <parrots/members/polly",
        prints: "ann@kea: hello\n")
      try await expect(
        "rm parrots/members/kea:polly parrots/members/polly; rmdir parrots; ls -d parrots",
        on: "moa", prints: "")
      try await expect("ls -d parrots", prints: "")
    }

    @Test("a message that cannot be sent fails at the write, and has its reason at the read")
    func badInput() async throws {
      try await expect("mkdir void; touch void/members/me", prints: "")
      let lines = [
        ("printf '\\n'", "Invalid argument", "a message has at least one octet"),
        ("printf 'a\\001b'", "Invalid argument", "a message is one line of text"),
        ("printf 'a\\377b'", "Invalid argument", "a message is one line of text"),
        ("printf '%0701d' 1", "File too large", "a message has at most 700 octets"),
      ]
      for (command, error, words) in lines {
        let outcome = try await Lab.shared().bash(
          on: "kea", as: "ann", "cd /v/group/void; \(command) >send; cat send")
        #expect(outcome.errors.contains(error), "\(outcome.summary)")
        #expect(outcome.output == "refused: \(words)\n")
      }
      try await expect(
        "rm void/members/me; echo x 2>/dev/null >void/send || cat void/send; rmdir void",
        prints: "refused: void has no members\n")
      try await expect(
        "for name in .a a:b 'a b' $(printf 'a%.0s' {1..65}); do mkdir \"$name\" && echo made; done",
        prints: "")
    }

    @Test("rm -rf removes nothing, not even as root", arguments: ["ann", "root"])
    func removing(user: String) async throws {
      try await expect(
        "mkdir kept; touch kept/members/me; rm -rf /v/group; cd /; rm -rf /v/group; "
          + "cd /v/group; ls kept/members; ls kernels/members | wc -l; rm kept/members/me; "
          + "rmdir kept",
        as: user, prints: "me\n\(Lab.hosts.count)\n")
    }

    @Test("others can neither send nor join, and read only their own mailboxes")
    func rights() async throws {
      try await expect("mkdir mine; touch mine/members/me", prints: "")
      let outcome = try await Lab.shared().bash(
        on: "moa",
        """
        setpriv --reuid 65534 --regid 65534 --clear-groups bash -c '
        cd /v/group/mine; echo x >send; touch members/other; rm -f members/kea:me
        cat members/kea:me'
        """)
      #expect(outcome.output.isEmpty)
      #expect(outcome.errors.split(separator: "\n").count == 4, "\(outcome.summary)")
      try await expect("ls mine/members; rm mine/members/me; rmdir mine", prints: "me\n")
    }

    @Test("a job: programs of two hosts are suspended, resumed and killed by one message")
    func job() async throws {
      let outcome = try await Lab.shared().bash(
        on: "kea", as: "ann",
        """
        start() { exec 3<>/v/team/$1/new && cat <<<"$2" >&3 && read -r name <&3; exec 3>&-; }
        state() { s=$(sed -n 's/^state //p' $p/status $q/status | sort -u); [[ $s == $1 ]]; }
        states() { await state "'$1'"; echo $s; }
        start kea $'group: job\n\nsleep 600'; p=/v/team/kea/$name; a=kea:$name
        start moa 'sleep 600'; q=/v/team/moa/$name; b=moa:$name
        await '[[ -e /v/group/job ]]'
        touch /v/group/job/members/$b; ls /v/group/job/members | sed 's/[0-9]*[.]/N./'
        sed -n 's/^name [0-9]*/by entity: N/p' /v/group/job/programs/*/status
        grep groups $p/status $q/status | cut -d: -f2
        echo suspend >/v/group/job/send; sed 's/[0-9]*[.]/N./' /v/group/job/send; states suspended
        v group resume job | sed 's/[0-9]*[.]/N./'; states running
        v group send job dance 2>&1 | sed 's/[0-9]*[.]/N./'; echo ${PIPESTATUS[0]}
        v group kill job >/dev/null; echo $?; states 'killed TERM'
        await '[[ ! $(ls /v/group/job/members) ]]'; sed 's/[0-9]*[.]/N./' /v/group/job/send
        v group kill job; echo $?; rmdir /v/group/job
        """, limit: .seconds(30))
      #expect(
        outcome.output == """
          kea:N.sleep
          moa:N.sleep
          by entity: N.sleep
          by entity: N.sleep
          groups job
          groups job
          kea:N.sleep: ok
          moa:N.sleep: ok
          suspended
          kea:N.sleep: ok
          moa:N.sleep: ok
          running
          kea:N.sleep: "dance" is no command; cat ctl lists them
          moa:N.sleep: "dance" is no command; cat ctl lists them
          v: group send job: 2 of 2 did not do it
          1
          0
          killed TERM
          kea:N.sleep: ok
          moa:N.sleep: ok
          1

          """, "\(outcome.summary)")
    }

    @Test("v group does the same by names")
    func command() async throws {
      try await expect(
        """
        v group make flock --open; v group join flock me; v group flock
        v group send flock good day; v group send --json flock again
        v group leave flock me; v group remove flock; v group flock; echo $?
        """,
        prints: """
          me
          kea:me: taken
          {"schema":1,"group":"flock","replies":[{"member":"kea:me","words":"taken"}],"error":null}
          1

          """)
    }

    @Test("a command reaches all members right after a restart of its own host's node")
    func restart() async throws {
      let lab = try await Lab.shared()
      let started = try await lab.bash(
        on: "kea", as: "ann",
        "for h in kea moa moa; do v run --detach --group work --host $h sleep 600; done")
      expectSuccess(started)
      for _ in 0..<2 {
        try await lab.command("kill", ["kea"])
        try await lab.command("start", ["kea"])
        try await expect(
          "await '(($(ls work/members | wc -l) == 3))'; v group suspend work | wc -l; "
            + "v ps | grep -c suspended; v group resume work | grep -c ok",
          prints: "3\n3\n3\n")
        try await expect("v ps | grep -c running", on: "moa", prints: "3\n")
      }
      try await expect(
        "v group kill work | grep -c ok; await '[[ ! $(ls work/members) ]]'; rmdir work",
        prints: "3\n")
    }

    @Test(
      "an unknown name is absent at once; a host that is down delays nobody")
    func silence() async throws {
      let lab = try await Lab.shared()
      try await expect("mkdir -m 777 all; touch all/members/me", prints: "")
      try await expect("touch all/members/me", on: "moa", prints: "")
      try await lab.command("kill", ["moa"])
      let script = "echo x >all/send; cat all/send; ls all/members; ls -d nothing"
      let clock = ContinuousClock()
      let start = clock.now
      try await expect(script, prints: "kea:me: taken\nmoa: no answer\nme\n")
      #expect(clock.now - start < .seconds(5))
      try await expect("v group send all x; echo $?", prints: "kea:me: taken\nmoa: no answer\n1\n")
      try await lab.command("start", ["moa"])
      try await expect("rm all/members/me; rmdir all", prints: "")
    }
  }
}
