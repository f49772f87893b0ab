import Foundation
import Testing

/// The behaviour of the scripts of `mount` without a node.
@Suite("Scripts of mount")
struct ScriptTests {
  private func bash(_ script: String) async throws -> Outcome {
    try await Program.run(
      [
        "bash", "-c",
        "set -u; program=test; root=\(Lab.root); . $root/mount/node.bash; "
          + "folder=$(mktemp -d) && trap 'rm -rf $folder' EXIT; " + script,
      ], limit: .seconds(10))
  }

  @Test("updatedb is kept out of /v and admitted again, with any configuration")
  func updatedb() async throws {
    let outcome = try await bash(
      """
      for line in 'PRUNEFS="NFS nfs proc"' 'PRUNEFS = "NFS fuse.v2"' '# none' '' \\
        'PRUNEPATHS="/tmp"'; do
        printf '%s\\n' "$line" >$folder/conf; cp $folder/conf $folder/before
        $root/mount/updatedb add $folder/conf; $root/mount/updatedb add $folder/conf
        grep -c '[" ]fuse\\.v"' $folder/conf
        $root/mount/updatedb remove $folder/conf
        cmp $folder/before $folder/conf || exit 1
      done
      $root/mount/updatedb add $folder/nowhere && [[ ! -e $folder/nowhere ]]
      """)
    #expect(outcome.isSuccess && outcome.output == "1\n1\n1\n1\n1\n", "\(outcome.summary)")
  }

  private static let points = [
    (#"host = "kea""#, "/v"), (#"mount = "/v/""#, "/v"), (#"mount="//n//v""#, "/n/v"),
    (#"mount = """#, ""), (#"mount = '/a"b'"#, #"/a"b"#),
    (#"mount = "/a\"b\\c" # why"#, #"/a"b\c"#),
    ("[[export]]\nmount = \"/x\"", "/v"), ("mount = \"LINK\"", "TARGET"),
  ]

  @Test("the mount of a configuration is found in the kernel's form", arguments: points)
  func point(text: String, point: String) async throws {
    let outcome = try await bash(
      """
      mkdir $folder/target && ln -s target $folder/link || exit 1
      cat >$folder/toml <<'END'
      \(text)
      END
      sed -i "s,LINK,$folder/link/," $folder/toml
      [[ $(configured_point $folder/toml) == "$(sed "s,TARGET,$folder/target," <<'END'
      \(point)
      END
      )" ]]
      """)
    expectSuccess(outcome)
  }
}
