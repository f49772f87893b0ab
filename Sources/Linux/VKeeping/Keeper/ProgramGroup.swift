import CVLinux
import Glibc
import VStore

/// The cgroups of one program, for its class and for the freezer.
struct ProgramGroup {
  private let resources: HostResources
  private let paths: [String]

  /// The cgroups of the running keeper.
  init(_ resources: HostResources) {
    self.resources = resources
    paths = resources.groups(ofKeeper: getpid())
  }

  /// Returns 0, or the error number of the failed call, negative.
  func make() -> Int32 {
    for path in paths where unsafe mkdir(path, 0o755) != 0 && errno != EEXIST { return -errno }
    return 0
  }

  /// The files by which a process enters the cgroups.
  var entrances: [String] { paths.map { $0 + "/cgroup.procs" } }

  /// The file that kills all processes in the cgroup when it is written; empty if there is none.
  var killFile: String {
    guard hasFreezer, let path = paths.first else { return "" }
    return path + "/cgroup.kill"
  }

  /// Kills all processes in the cgroup; false if that cannot be done at once.
  func kill() -> Bool {
    let file = killFile
    return unsafe !file.isEmpty && v_put_text(file, "1") == 0
  }

  /// The processes in the cgroup.
  var members: [Int32] {
    guard let path = paths.first else { return [] }
    return ProcessFiles.lines(of: path + "/cgroup.procs").compactMap { Int32($0) }
  }

  func remove() { resources.removeGroups(ofKeeper: getpid()) }

  var hasFreezer: Bool { !resources.cgroup2.isEmpty }

  func setFrozen(_ isFrozen: Bool) -> Int32 { put(isFrozen ? "1" : "0", "cgroup.freeze", paths[0]) }

  /// Foreground programs have the weight of everything else on the host, so that the host's owner
  /// has an equal share; a guest gets only the time that no other program wants.
  func setClass(_ programClass: ProgramClass) -> Int32 {
    let isOwn = resources.mechanism == .cgroup2
    guard isOwn || resources.mechanism == .cgroup1, let path = paths.last else { return 0 }
    let isIdle = programClass == .guest
    let error = put(isIdle ? "1" : "0", "cpu.idle", path)
    if isIdle || error != 0 { return error }
    let isForeground = programClass == .foreground
    return isOwn
      ? put(isForeground ? "100" : Self.backgroundWeight, "cpu.weight", path)
      : put(isForeground ? "1024" : Self.backgroundShares, "cpu.shares", path)
  }

  private static let (backgroundWeight, backgroundShares) = ("6", "64")

  /// The class that a cgroup was given; nil if there is none.
  static func programClass(of path: String) -> ProgramClass? {
    func text(_ file: String) -> Substring? { ProcessFiles.lines(of: "\(path)/\(file)").first }
    guard let isIdle = text("cpu.idle") else { return nil }
    if isIdle == "1" { return .guest }
    let isBackground =
      text("cpu.weight").map { $0 == backgroundWeight }
      ?? text("cpu.shares").map { $0 == backgroundShares } ?? false
    return isBackground ? .background : .foreground
  }

  private func put(_ text: String, _ file: String, _ path: String) -> Int32 {
    unsafe v_put_text("\(path)/\(file)", text)
  }
}

extension ProgramClass {
  /// The nice(2) value, which keeps classes apart by sessions or processes.
  var nice: Int32 {
    switch self {
    case .foreground: 0
    case .background: 10
    case .guest: 19
    }
  }
}
