import Foundation
import Testing

extension LabTests {
  /// The serving host identifies a caller by the name that the caller's kernel gives.
  @Suite("Identity", .tags(.mount))
  struct IdentityTests {
    @Test("root is root where the export allows it, users go by their names, others are nobody")
    func mapping() async throws {
      let lab = try await Lab.shared()
      // bob exists on kea only; carl has there the number that ann has on moa.
      expectSuccess(
        try await lab.bash(
          on: "kea",
          """
          for user in bob:3001 carl:2002; do
            IFS=: read -r name number <<<$user
            sed -i "/^$name:/d" /etc/passwd /etc/group
            echo "$name:x:$number:$number::/:/bin/sh" >>/etc/passwd
            echo "$name:x:$number:" >>/etc/group
          done
          """))
      let exports = """
        for name in strict trusting closed; do
          mkdir -p -m 1777 /srv/identity/$name
          (umask 077; echo "of ann" >/srv/identity/$name/ann; chown ann /srv/identity/$name/ann)
          (umask 077; echo "of root" >/srv/identity/$name/root)
          printf '[[export]]\\nprefix = "%s"\\npath = "/srv/identity/%s"\\n' $name $name
          case $name in trusting) echo 'root = ["kea"]';; closed) echo 'allow = ["moa"]';; esac
        done >>/etc/v/vnode.toml
        """
      expectSuccess(
        try await lab.bash(on: "moa", "cp /etc/v/vnode.toml /tmp-toml; set -e; \(exports)"))
      try await restart("moa", lab)

      for user in ["root", "ann", "bob", "carl"] {
        _ = try await lab.bash(
          on: "kea", as: user, "for e in strict trusting closed; do >/v/$e/by-\(user); done")
      }
      // A number without a name is nobody, too.
      _ = try await lab.run(
        on: "kea", ["setpriv", "--reuid", "4711", "--clear-groups", "touch", "/v/strict/by-4711"])
      let owners = try await lab.bash(
        on: "moa", "cd /srv/identity && stat -c '%n %U %G' */by-* | sort")
      #expect(
        owners.output == """
          strict/by-4711 nobody nogroup
          strict/by-ann ann ann
          strict/by-bob nobody nogroup
          strict/by-carl nobody nogroup
          strict/by-root nobody nogroup
          trusting/by-ann ann ann
          trusting/by-bob nobody nogroup
          trusting/by-carl nobody nogroup
          trusting/by-root root root

          """, "\(owners.summary)")

      // Only the user of the owner's name, or a trusted root, may read a file.
      for (user, allowed) in [
        ("root", ["trusting/ann", "trusting/root"]), ("ann", ["strict/ann", "trusting/ann"]),
        ("bob", []), ("carl", []),
      ] {
        let read = try await lab.bash(
          on: "kea", as: user,
          "cd /v; for f in {strict,trusting,closed}/{ann,root}; do cat $f >&2 && echo $f; done")
        #expect(read.output.split(separator: "\n").map(String.init) == allowed, "\(read.summary)")
        #expect(read.errors.contains("closed/ann: Permission denied"), "\(read.summary)")
      }
      // The host itself is always admitted, and its root is root.
      let own = try await lab.bash(on: "moa", "cat /v/{strict,closed}/{ann,root}")
      #expect(own.output == "of ann\nof root\nof ann\nof root\n", "\(own.summary)")

      expectSuccess(try await lab.bash(on: "moa", "cp /tmp-toml /etc/v/vnode.toml"))
      try await restart("moa", lab)
    }

    private func restart(_ host: String, _ lab: Lab) async throws {
      try await lab.command("kill", [host])
      try await lab.command("start", [host])
    }
  }
}
