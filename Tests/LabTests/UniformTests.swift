import Foundation
import Testing

extension LabTests {
  @Suite("One interface for everything", .tags(.mount), .serialized)
  struct UniformTests {
    /// One object of each kind, made on a host.
    private static func objects(on host: String) -> String {
      """
      set -e
      : >/v/pipe/\(host)/uniform
      exec 3<>/v/team/\(host)/new
      printf 'yes\\n' >&3
      read -r -t 5 program <&3
      mkdir -p /v/group/uniform
      touch /v/group/uniform/members/me
      team=/v/team/\(host)
      timeout 15 python3 /srv/storage/tools/uniform.py \\
        /v/storage/\(host)/hello /v/storage/\(host) \\
        /v/pipe/\(host)/uniform /v/host/\(host)/device/{null,zero,random,clock} /v/host/\(host) \\
        /v/host/\(host)/{status,time} $team/$program/{out,status,cmdline} $team/$program $team \\
        /v/group/uniform/{send,status} /v/group/uniform/members && status=0 || status=$?
      echo kill >$team/$program/ctl
      rm /v/pipe/\(host)/uniform /v/group/uniform/members/me
      rmdir /v/group/uniform
      exit $status
      """
    }

    @Test("a file, pipe, device, program, directory, group and clock match their attributes")
    func objects() async throws {
      let lab = try await Lab.shared()
      for host in Lab.hosts {
        let outcome = try await lab.bash(
          on: "kea", Self.objects(on: host), limit: .seconds(20))
        expectSuccess(outcome, host)
        #expect(outcome.output.split(separator: "\n").count == 18, "\(outcome.summary)")
      }
    }

    @Test(
      "also when packets are lost",
      .disabled(if: Lab.isBridged, "the bridge makes no faults"))
    func loss() async throws {
      let lab = try await Lab.shared()
      try await lab.command("fault", ["moa", "loss", "1"])
      let outcome = try await lab.bash(on: "kea", Self.objects(on: "moa"), limit: .seconds(30))
      try await lab.command("fault", ["moa", "off"])
      expectSuccess(outcome)
    }
  }
}
