import CVLinux
import Glibc
public import VStore

/// How this host can keep classes of programs apart and suspend programs.
public struct HostResources: Equatable, Sendable {
  public var mechanism: ClassMechanism
  /// The mount point of cgroup 2, which has the freezer; empty without it: then programs are
  /// suspended by SIGSTOP.
  public var cgroup2: String
  /// The mount point of cgroup 1's `cpu` controller, or empty.
  public var cgroup1Processor: String
  /// The start of the names of our cgroups, in front of the pid of their keeper.
  ///
  /// The file system is shared by the whole machine, so the name includes the pid namespace.
  public var groupPrefix: String

  package init(
    mechanism: ClassMechanism, cgroup2: String, cgroup1Processor: String, groupPrefix: String
  ) {
    self.mechanism = mechanism
    self.cgroup2 = cgroup2
    self.cgroup1Processor = cgroup1Processor
    self.groupPrefix = groupPrefix
  }

  /// Examines the machine; enables the `cpu` controller of cgroup 2, if there is one.
  public init() {
    var cgroup2 = ""
    var cgroup1 = ""
    for mount in ProcessFiles.lines(of: "/proc/self/mountinfo") {
      let halves = mount.split(separator: " - ", maxSplits: 1)
      guard halves.count == 2 else { continue }
      let place = halves[0].split(separator: " ")
      let kind = halves[1].split(separator: " ")
      guard place.count > 4, kind.count > 2 else { continue }
      let path = String(place[4])
      guard ProcessFiles.mayWrite(path + "/cgroup.procs") else { continue }
      switch kind[0] {
      case "cgroup2": cgroup2 = path
      case "cgroup" where kind[2].split(separator: ",").contains("cpu"): cgroup1 = path
      default: break
      }
    }
    let namespace = ProcessFiles.link("/proc/self/ns/pid").filter { $0.isNumber }
    self.init(
      mechanism: Self.mechanism(cgroup2, cgroup1), cgroup2: cgroup2, cgroup1Processor: cgroup1,
      groupPrefix: "v.\(namespace).")
  }

  private static func mechanism(_ cgroup2: String, _ cgroup1: String) -> ClassMechanism {
    func controllers(_ file: String) -> [Substring] {
      ProcessFiles.lines(of: "\(cgroup2)/\(file)").flatMap { $0.split(separator: " ") }
    }
    if !cgroup2.isEmpty, controllers("cgroup.controllers").contains("cpu") {
      _ = unsafe v_put_text("\(cgroup2)/cgroup.subtree_control", "+cpu")
      if controllers("cgroup.subtree_control").contains("cpu") { return .cgroup2 }
    }
    if !cgroup1.isEmpty { return .cgroup1 }
    let isGrouped = ProcessFiles.lines(of: "/proc/sys/kernel/sched_autogroup_enabled") == ["1"]
    return isGrouped ? .autogroup : .nice
  }

  /// The cgroups of the program of keeper `pid`, one in each hierarchy.
  package func groups(ofKeeper pid: Int32) -> [String] {
    var roots: [String] = []
    if !cgroup2.isEmpty { roots.append(cgroup2) }
    if mechanism == .cgroup1 { roots.append(cgroup1Processor) }
    return roots.map { "\($0)/\(groupPrefix)\(pid)" }
  }

  /// Removes the cgroups of a keeper, and kills what remains of its program: Linux takes a moment.
  package func removeGroups(ofKeeper pid: Int32) {
    for path in groups(ofKeeper: pid) {
      killAll(in: path)
      for _ in 0..<1000 where unsafe rmdir(path) != 0 && errno == EBUSY { usleep(1000) }
    }
  }

  /// Removes the cgroups of keepers that no longer exist.
  package func removeRemains() {
    for root in Set([cgroup2, cgroup1Processor]) where !root.isEmpty {
      for name in ProcessFiles.entries(of: root) where name.hasPrefix(groupPrefix) {
        guard let pid = Int32(name.dropFirst(groupPrefix.count)),
          kill(pid, 0) != 0, errno == ESRCH
        else { continue }
        removeGroups(ofKeeper: pid)
      }
    }
  }

  private func killAll(in group: String) {
    guard !cgroup2.isEmpty, group.hasPrefix(cgroup2) else { return }
    _ = unsafe v_put_text("\(group)/cgroup.kill", "1")
  }
}
