import Glibc
import VAttach
import VKernelServers
import VNode
import VProtocol
import VRuntime

extension NodeSnapshot {
  /// The present state of a node; each counter has the kernel's name for it.
  init(
    _ node: Node, _ machine: LinuxMachine, configuredPeers: [String], attached: AttachServer?
  ) {
    let multicasts = machine.multicastsHeard
    self.init(
      isSealing: node.isSealing,
      nameHolder: node.nameHolder.map { "\($0.locator)" },
      counters: Mirror(reflecting: node.counters).children.map {
        (name: $0.label ?? "", count: $0.value as? Int ?? 0)
      } + [
        ("multicastsReturned", multicasts.own), ("multicastsHeard", multicasts.others),
        ("keyDerivations", node.keyDerivations),
      ],
      rejected: machine.rejectedPackets.map {
        Rejected(
          source: "\($0.key.source)", reason: $0.key.reason, count: $0.value.count,
          age: machine.now - $0.value.last)
      },
      attached: attached.map { Attached(count: $0.processCount, closings: $0.endings) },
      peers: node.peers.map {
        Peer(
          kernel: $0.kernel, locator: "\($0.locator)", age: $0.age, roundTrip: $0.roundTrip,
          isSilent: $0.isSilent, isDeaf: $0.isDeaf, host: $0.host)
      })
    self.configuredPeers = configuredPeers
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
    let microseconds = usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
    cpu = .milliseconds(Int64(seconds) * 1000) + .microseconds(Int64(microseconds))
  }
}
