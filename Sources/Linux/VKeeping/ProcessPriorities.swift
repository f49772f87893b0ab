import CVLinux
import Glibc
internal import Synchronization
public import VProtocol
import VStore

/// The priorities of Linux processes: that of a program's class, or of a nice value, whichever is
/// lower.
///
/// What a process may not do to its nice value or its cgroup, it may not do to its priority either.
public final class ProcessPriorities: Sendable {
  private let resources: HostResources
  private let known = Mutex<[Int32: (priority: Priority, readAt: Time)]>([:])

  /// A process is looked up once in this time: that takes as long as many a request.
  private static let kept = TimeSpan.seconds(1)
  /// Processes remembered at once; beyond it all are looked up again.
  private static let knownMax = 4096

  public init(_ resources: HostResources) { self.resources = resources }

  /// The priority of a process or thread; normal for one that is not seen.
  public func priority(of process: Int32, at now: Time) -> Priority {
    guard process > 0 else { return .normal }
    let last = known.withLock { $0[process] }
    if let last, now < last.readAt + Self.kept { return last.priority }
    let priority = min(
      Priority(nice: Self.nice(of: process)),
      resources.programClass(of: process).map { Priority($0) } ?? .urgent)
    known.withLock { known in
      if known.count >= Self.knownMax { known = [:] }
      known[process] = (priority, now)
    }
    return priority
  }

  private static func nice(of process: Int32) -> Int32 {
    // -1 is a nice value too.
    errno = 0
    let nice = getpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(process))
    return errno == 0 ? nice : 0
  }
}

extension Priority {
  /// That of a process with a nice(2) value.
  package init(nice: Int32) {
    switch nice {
    case ...(-10): self = .urgent
    case ..<0: self = .important
    case ..<ProgramClass.background.nice: self = .normal
    case ..<ProgramClass.guest.nice: self = .background
    default: self = .guest
    }
  }

  fileprivate init(_ programClass: ProgramClass) {
    switch programClass {
    case .foreground: self = .normal
    case .background: self = .background
    case .guest: self = .guest
    }
  }
}

extension HostResources {
  /// The class of the program that a process belongs to; nil if it belongs to none, or if classes
  /// are kept apart by nice values.
  func programClass(of process: Int32) -> ProgramClass? {
    let root = mechanism == .cgroup2 ? cgroup2 : mechanism == .cgroup1 ? cgroup1Processor : ""
    if root.isEmpty { return mechanism == .autogroup ? sessionClass(of: process) : nil }
    for line in ProcessFiles.lines(of: "/proc/\(process)/cgroup") {
      let group = line.split(separator: "/").dropFirst().first { $0.hasPrefix(groupPrefix) }
      guard let group, let found = ProgramGroup.programClass(of: "\(root)/\(group)")
      else { continue }
      return found
    }
    return nil
  }

  private func sessionClass(of process: Int32) -> ProgramClass? {
    let words = ProcessFiles.lines(of: "/proc/\(process)/autogroup").first?.split(separator: " ")
    guard let nice = words?.last.flatMap({ Int32($0) }) else { return nil }
    return ProgramClass.allCases.first { $0.nice == nice }
  }
}
