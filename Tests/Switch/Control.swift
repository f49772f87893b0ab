import NetworkFaults

/// The commands of `Tests/lab` to the switch: one line each, answered by one line, `ok` or the
/// reason why not.
///
/// Hosts are the numbers of their ports.
extension Switch {
  mutating func obey(_ line: String) -> String {
    let words = line.split(separator: " ").map(String.init)
    let numbers = words.dropFirst().compactMap(Int.init)
    do throws(SwitchFailure) {
      switch (words.first ?? "", numbers.count) {
      case ("add", 1): ports[numbers[0]] = try Port(numbers[0])
      case ("cut", 1): try ports[numbers[0]]?.plug(false)
      case ("join", 1): try ports[numbers[0]]?.plug(true)
      case ("partition", 2): engine.partition(numbers[0], numbers[1])
      case ("lose", 2): engine.loseAll(from: numbers[0], to: numbers[1])
      case ("heal", 0): engine.heal()
      case ("fault", _):
        guard let host = numbers.first, words.count > 2, host >= 0 else { return Self.usage }
        return setFault(words[2], words.count > 3 ? Int(words[3]) : nil, of: host)
      case ("status", 0): return status
      default: return Self.usage
      }
    } catch {
      return error.description
    }
    return "ok"
  }

  private static let usage =
    "add|cut|join N, partition|lose N N, heal, status, "
    + "fault N loss|dup|reorder|delay|drop COUNT|off"
  private static let millisecond: UInt64 = 1_000_000
  private static let delayMillisecondsMax = 60_000

  private mutating func setFault(_ name: String, _ value: Int?, of host: Int) -> String {
    if name == "off" {
      engine.setFaults(Faults(), of: host)
      engine.drop(0, from: host)
      return "ok"
    }
    guard let value, value >= 0 else { return "fault \(name): how many?" }
    var faults = engine.hosts[host] ?? Faults()
    switch name {
    case "drop":
      engine.drop(value, from: host)
      return "ok"
    case "delay":
      guard value <= Self.delayMillisecondsMax else {
        return "a delay is at most \(Self.delayMillisecondsMax) ms"
      }
      faults.delayNanoseconds = UInt64(value) * Self.millisecond
    case "loss", "dup", "reorder":
      guard value <= 100 else { return "\(name) is in percent" }
      let chance: WritableKeyPath<Faults, Int> =
        name == "loss" ? \.loss : name == "dup" ? \.duplication : \.reordering
      faults[keyPath: chance] = value
    default: return "\(name) is no fault: loss, dup, reorder, delay, drop or off"
    }
    engine.setFaults(faults, of: host)
    return "ok"
  }

  private var status: String {
    var parts = [
      "seed \(engine.seed)", "\(engine.packetsSeen) packets", "\(engine.packetsLost) lost",
    ]
    for (host, faults) in engine.hosts.sorted(by: { $0.key < $1.key }) {
      parts.append(
        "p\(host) loss \(faults.loss) dup \(faults.duplication) reorder \(faults.reordering) "
          + "delay \(faults.delayNanoseconds / Self.millisecond)")
    }
    for (host, count) in engine.drops.sorted(by: { $0.key < $1.key }) {
      parts.append("p\(host) drop \(count)")
    }
    for pair in engine.partitions.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
      parts.append("p\(pair[0]) | p\(pair[1])")
    }
    for pair in engine.oneWayLosses.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
      parts.append("p\(pair[0]) lost to p\(pair[1])")
    }
    for port in ports.values.sorted(by: { $0.number < $1.number }) where !port.isPlugged {
      parts.append("p\(port.number) cut")
    }
    return parts.joined(separator: ", ")
  }
}
