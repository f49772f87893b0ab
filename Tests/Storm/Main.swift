import Glibc
import VProtocol

/// A million message transactions of the production kernel in the simulated network.
///
/// Usage: `vstorm [--transactions N] [--seed S] [--day N]`. Every seed is a day of its own; a
/// violation ends the run with status 1 and the command that replays its day.
@main
enum Storm {
  static func main() {
    let transactions = value(of: "--transactions", or: 1_000_000)
    let first = UInt64(value(of: "--seed", or: 1))
    let perDay = min(transactions, value(of: "--day", or: 10_000))
    var total = Totals()
    let start = ContinuousClock.now
    var seed = first
    while total.transactions < transactions {
      let day = Day(seed: seed, transactions: perDay)
      day.run()
      total.add(day)
      guard day.ledger.violations.isEmpty else {
        for violation in day.ledger.violations.prefix(20) { print("FAILED: \(violation)") }
        print(
          "FAILED: \(day.ledger.violations.count) violations; replay with",
          "Tests/storm --seed \(seed) --transactions \(perDay)")
        exit(1)
      }
      seed += 1
    }
    let took = ContinuousClock.now - start
    total.report(seeds: first...(seed - 1), perDay: perDay, seconds: took / .seconds(1))
  }

  private static func value(of option: String, or usual: Int) -> Int {
    let words = CommandLine.arguments
    guard let index = words.firstIndex(of: option) else { return usual }
    guard index + 1 < words.count, let value = Int(words[index + 1]), value > 0 else {
      print("usage: vstorm [--transactions N] [--seed S] [--day N]")
      exit(2)
    }
    return value
  }
}

/// The sums of all days.
private struct Totals {
  var transactions = 0
  private var executions = 0
  private var abandoned = 0
  private var octets = 0
  private var packets = 0
  private var packetsLost = 0
  private var boots = 0
  private var seconds: Int64 = 0
  private var codes: [UInt32: Int] = [:]
  private var strikes: [String: Int] = [:]
  private var most: [String: (storm: Int, end: Int)] = [:]
  private var digest: UInt64 = 0

  mutating func add(_ day: Day) {
    transactions += day.ledger.transactions.count
    executions += day.ledger.executions
    abandoned += day.ledger.abandoned
    octets += day.ledger.octets
    packets += day.simulator.packets
    packetsLost += day.simulator.packetsLost
    boots += day.boots
    seconds += day.simulator.now.nanoseconds / 1_000_000_000
    codes.merge(day.ledger.codes, uniquingKeysWith: +)
    strikes.merge(day.strikes, uniquingKeysWith: +)
    most.merge(day.most) { (max($0.storm, $1.storm), max($0.end, $1.end)) }
    digest = digest &* 31 ^ day.ledger.digest
  }

  func report(seeds: ClosedRange<UInt64>, perDay: Int, seconds took: Double) {
    print("seeds \(seeds.lowerBound) to \(seeds.upperBound), \(perDay) transactions each")
    print("\(transactions) transactions, all ended: \(executions) executions, \(octets) octets")
    for (code, count) in codes.sorted(by: { $0.value > $1.value }) {
      print("  \(count) ended with: \(ReplyCode(rawValue: code))")
    }
    print("  \(abandoned) were abandoned: the client or its host ended first")
    print("\(packets) packets, \(packetsLost) lost; \(boots) boots; \(seconds) s in the simulation")
    let struck = strikes.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
    print(struck.joined(separator: ", "))
    print("the most entries of any kernel's tables, in the storm and after the calm:")
    for (table, counts) in most.sorted(by: { $0.key < $1.key }) {
      print("  \(table) \(counts.storm) \(counts.end)")
    }
    print("digest \(String(digest, radix: 16))")
    print("\(Int(took * 10) / 10) s, \(Int(Double(transactions) / took)) transactions a second")
  }
}
