import Glibc
package import VStore

/// The processes of the host at one moment, from `/proc`.
package struct ProcessTable {
  package struct Entry {
    package var pid: Int32
    package var parent: Int32
    package var command: [UInt8]
    package var isKernelThread: Bool
    /// Whether it has ended and its parent has not reaped it.
    package var isZombie: Bool
    /// Processor time of itself and of the children that it reaped.
    package var ticks: UInt64
    package var residentPages: UInt64
  }

  package private(set) var entries: [Int32: Entry] = [:]

  package init() {
    for pid in ProcessFiles.entries(of: "/proc").compactMap({ Int32($0) }) { add(pid) }
  }

  /// Only `root` and what descends from it, where Linux tells of the children of a process: a host
  /// may have many others.
  package init(below root: Int32) {
    guard unsafe access("/proc/thread-self/children", F_OK) == 0 else {
      self.init()
      return
    }
    self.init(empty: ())
    var next = [root]
    while let pid = next.popLast() {
      add(pid)
      let tasks = "/proc/\(pid)/task"
      for thread in ProcessFiles.entries(of: tasks) {
        let lines = ProcessFiles.lines(of: "\(tasks)/\(thread)/children")
        next += lines.flatMap { $0.split(separator: " ") }.compactMap { Int32($0) }
      }
    }
  }

  private init(empty: Void) {}

  private mutating func add(_ pid: Int32) {
    let (stat, _) = ProcessFiles.read("/proc/\(pid)/stat", count: 4096)
    if let entry = Entry(pid: pid, parsing: stat) { entries[pid] = entry }
  }

  /// Whether a process exists that has not ended.
  package static func isAlive(_ pid: Int32) -> Bool {
    let (stat, _) = ProcessFiles.read("/proc/\(pid)/stat", count: 4096)
    return Entry(pid: pid, parsing: stat).map { !$0.isZombie } ?? false
  }

  /// The descendants of `root`, without itself and without ended ones.
  package func descendants(of root: Int32) -> [Entry] {
    var children: [Int32: [Entry]] = [:]
    for entry in entries.values { children[entry.parent, default: []].append(entry) }
    var found: [Entry] = []
    var next = [root]
    while let pid = next.popLast() {
      for child in children[pid] ?? [] {
        if !child.isZombie { found.append(child) }
        next.append(child.pid)
      }
    }
    return found
  }

  /// The use of a program with the supervisor `root`; shared memory counts for each process.
  package func usage(below root: Int32) -> ProgramUsage {
    let members = descendants(of: root)
    let all = members + [entries[root]].compactMap { $0 }
    let perSecond = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
    let pageKilobytes = UInt64(max(4096, sysconf(Int32(_SC_PAGESIZE)))) / 1024
    return ProgramUsage(
      processorMilliseconds: all.reduce(0) { $0 + $1.ticks } * 1000 / perSecond,
      memoryKilobytes: members.reduce(0) { $0 + $1.residentPages } * pageKilobytes,
      processCount: members.count)
  }
}

extension ProcessTable.Entry {
  /// Reads `PID (COMMAND) STATE PARENT ...`; the command may contain anything, so its end is the
  /// last parenthesis.
  init?(pid: Int32, parsing stat: [UInt8]) {
    guard let open = stat.firstIndex(of: UInt8(ascii: "(")),
      let close = stat.lastIndex(of: UInt8(ascii: ")")), open < close
    else { return nil }
    let fields = String(decoding: stat[(close + 1)...], as: UTF8.self).split(separator: " ")
    // Counted from the state, which is field 3 in proc(5).
    guard fields.count > 21, let parent = Int32(fields[1]), let flags = UInt64(fields[6]) else {
      return nil
    }
    self.pid = pid
    self.parent = parent
    command = Array(stat[(open + 1)..<close])
    isZombie = fields[0] == "Z"
    isKernelThread = flags & 0x20_0000 != 0
    ticks = fields[11...14].reduce(0) { $0 + (UInt64($1) ?? 0) }
    residentPages = UInt64(fields[21]) ?? 0
  }
}
