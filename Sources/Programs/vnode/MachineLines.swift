import Glibc

/// The state of this machine, for the status of its host: kind, processors, load, memory.
@Sendable func machineLines() -> [String] {
  var names = utsname()
  uname(&names)
  var lines = [
    "machine \(text(names.machine))", "linux \(text(names.release))",
    "cpus \(sysconf(Int32(_SC_NPROCESSORS_ONLN)))",
  ]
  var load = [0.0, 0.0, 0.0]
  if getloadavg(&load, 3) == 3 {
    lines.append("load " + load.map(hundredths).joined(separator: " "))
  }
  let page = sysconf(Int32(_SC_PAGESIZE))
  lines.append("memory_bytes \(sysconf(Int32(_SC_PHYS_PAGES)) * page)")
  lines.append("memory_free_bytes \(sysconf(Int32(_SC_AVPHYS_PAGES)) * page)")
  return lines
}

/// The text in a C array of characters.
private func text<Characters: BitwiseCopyable>(_ characters: Characters) -> String {
  withUnsafeBytes(of: characters) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

private func hundredths(_ value: Double) -> String {
  let count = Int((value * 100).rounded())
  return "\(count / 100)." + (count % 100 < 10 ? "0" : "") + "\(count % 100)"
}
