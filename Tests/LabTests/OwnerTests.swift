import Foundation
import Testing

extension LabTests {
  /// ann is user 2001 on kea and 2002 on moa.
  @Suite("Owners and modes", .tags(.mount))
  struct OwnerTests {
    /// Every host with every other, and with itself.
    static let pairs = Lab.hosts.flatMap { host in Lab.hosts.map { (host, $0) } }

    @Test("ann's files are ann's on every host", arguments: pairs)
    func names(maker: String, server: String) async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: server, "of-ann-\(maker)")
      let made = try await lab.bash(
        on: maker, as: "ann",
        """
        cd /v/storage/\(server)/\(directory) &&
        id -u >file && mkdir folder && ln -s file link && mkfifo fifo && chmod 600 file && cat file
        """)
      expectSuccess(made)
      for (viewer, path) in [
        ("kea", "/v/storage/\(server)"), ("moa", "/v/storage/\(server)"), (server, "/srv/storage"),
      ] {
        let listing = try await lab.bash(
          on: viewer,
          """
          ls -l \(path)/\(directory) | awk 'NR > 1 { print $1, $3, $4, $9 }'
          stat -c %u \(path)/\(directory)/file
          """)
        let id = viewer == "kea" ? 2001 : 2002
        #expect(
          listing.output == """
            prw-r--r-- ann ann fifo
            -rw------- ann ann file
            drwxr-xr-x ann ann folder
            lrwxrwxrwx ann ann link
            \(id)

            """, "\(viewer): \(listing.summary)")
      }
    }

    @Test("a process that became ann by su is ann")
    func su() async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: "moa", "by-su")
      let made = try await lab.run(
        on: "kea", ["su", "ann", "-c", "touch /v/storage/moa/\(directory)/file"])
      expectSuccess(made)
      let owner = try await lab.run(
        on: "moa", ["stat", "-c", "%U:%G", "/srv/storage/\(directory)/file"])
      #expect(owner.output == "ann:ann\n", "\(owner.summary)")
    }

    @Test("ann may do what ann may and no more", arguments: Lab.hosts)
    func rights(server: String) async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: server, "rights")
      let place = "/v/storage/\(server)/\(directory)"
      let prepared = try await lab.bash(
        on: server,
        """
        cd /srv/storage/\(directory) && echo secret >of-root && chmod 600 of-root &&
        mkdir closed && chmod 700 closed && echo open >shared && chmod 666 shared
        """)
      expectSuccess(prepared)
      let tried = try await lab.bash(
        on: "kea", as: "ann",
        """
        cd \(place) || exit
        cat of-root; ls closed; >closed/file; rm of-root; mv of-root mine; chmod 644 of-root
        chown ann of-root; mkdir own && chown root own; cat shared && echo more >>shared
        test -r of-root || echo unreadable; test -w shared && echo writable
        """)
      let refusals = tried.errors.split(separator: "\n").map {
        $0.split(separator: ":").last?.trimmingCharacters(in: .whitespaces)
      }
      let (denied, owner) = ("Permission denied", "Operation not permitted")
      #expect(
        refusals == [denied, denied, denied, owner, owner, owner, owner, owner],
        "\(tried.summary)")
      #expect(tried.output == "open\nunreadable\nwritable\n")
    }

    @Test("umask and directory modes hold", arguments: pairs)
    func modes(maker: String, server: String) async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: server, "modes-\(maker)")
      let made = try await lab.bash(
        on: maker, as: "ann",
        """
        cd /v/storage/\(server)/\(directory) &&
        umask 027 && >f027 && mkdir d027 && umask 0 && >f000 && mkdir d000 && mkfifo p000 &&
        umask 077 && >f077 && mkdir -m 1751 d1751 && umask 777 && >f777 && echo x >>f027
        """)
      expectSuccess(made)
      let modes = try await lab.bash(
        on: server, "cd /srv/storage/\(directory) && stat -c '%n %a' * | tr '\\n' ' '")
      #expect(
        modes.output
          == "d000 777 d027 750 d1751 1751 f000 666 f027 640 f077 600 f777 0 p000 666 ",
        "\(modes.summary)")
    }

    @Test("a setgid directory hands its group down", arguments: pairs)
    func setgid(maker: String, server: String) async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: server, "setgid-\(maker)")
      let place = "/v/storage/\(server)/\(directory)"
      // Not a group of ann's: only the directory decides.
      let prepared = try await lab.bash(
        on: maker, "mkdir \(place)/d && chgrp users \(place)/d && chmod 2777 \(place)/d")
      expectSuccess(prepared)
      let made = try await lab.bash(
        on: maker, as: "ann",
        "cd \(place)/d && umask 022 && >file && mkdir folder && >folder/file && ln -s x link")
      expectSuccess(made)
      let modes = try await lab.bash(
        on: server,
        "cd /srv/storage/\(directory) && find d | sort | xargs stat -c '%n %U %G %a'")
      #expect(
        modes.output == """
          d root users 2777
          d/file ann users 644
          d/folder ann users 2755
          d/folder/file ann users 644
          d/link ann users 777

          """, "\(modes.summary)")
    }

    @Test("a write and a change of owner drop setuid and setgid", arguments: Lab.hosts)
    func droppedPrivileges(server: String) async throws {
      let lab = try await Lab.shared()
      let directory = try await lab.makeDirectory(on: server, "dropped")
      let place = "/v/storage/\(server)/\(directory)"
      let made = try await lab.bash(
        on: "kea",
        """
        cd \(place) && for f in written cut given; do echo x >$f && chmod 6777 $f; done
        chown 1:1 given
        """)
      expectSuccess(made)
      expectSuccess(
        try await lab.bash(
          on: "kea", as: "ann", "cd \(place) && echo y >>written && truncate -s 0 cut"))
      let modes = try await lab.bash(
        on: server, "cd /srv/storage/\(directory) && stat -c '%n %a' *")
      #expect(modes.output == "cut 777\ngiven 777\nwritten 777\n", "\(modes.summary)")
    }
  }
}
