import Testing
import VSealing

@Suite("The file of the cluster key")
struct ClusterKeyFileTests {
  @Test("belongs to root or the node's own user, and nobody else may use it")
  func owners() {
    func refusal(_ mode: UInt32, _ owner: UInt32, _ user: UInt32) -> String? {
      ClusterKeyFile.refusal(path: "/k", mode: 0o100_000 | mode, owner: owner, user: user)
    }
    #expect(refusal(0o600, 0, 0) == nil)
    #expect(refusal(0o400, 0, 1000) == nil)
    #expect(refusal(0o600, 1000, 1000) == nil)
    #expect(refusal(0o600, 1000, 0)?.contains("belongs to user number 1000") == true)
    #expect(refusal(0o600, 1001, 1000)?.contains("chown root /k") == true)
    for mode: UInt32 in [0o640, 0o604, 0o610, 0o602] {
      #expect(refusal(mode, 0, 0)?.contains("chmod 600 /k") == true)
    }
  }
}
