import Glibc
import VCommand

/// The checks of network, mount, time and peers.
extension Checkup {
  mutating func checkNetwork() {
    guard !isAlone else { return }
    let named = effective["listen"] ?? ""
    let interfaces = prober.interfaces()
    // A node that does not run, and is not told what to use, would use every network.
    let used =
      report?.addresses
      ?? (named.isEmpty ? interfaces.filter { !$0.isLoopback }.map(\.address) : [named])
    guard let interface = interfaces.first(where: { used.contains($0.address) }) else {
      let what = used.first.map { "no interface that is up has the node's address '\($0)'" }
      return add(
        .fail, "interface", what ?? "no network is up",
        "ip address; a node whose configuration has no listen uses whatever addresses there are")
    }
    let address = interface.address
    add(.ok, "interface", "\(interface.name) has \(address)")
    guard !interface.isLoopback else { return }
    if !interface.isMulticast {
      add(
        .warn, "multicast", "\(interface.name) has no multicast",
        "ip link set \(interface.name) multicast on, or name the others in peers")
    } else if prober.multicastReturns(by: interface) {
      add(.ok, "multicast", "leaves by \(interface.name) and comes back")
    } else {
      let isNeeded = effective["peers"] ?? "[]" == "[]"
      add(
        isNeeded ? .fail : .warn, "multicast", "one sent from \(interface.name) does not come back",
        "ip route add 224.0.0.0/4 dev \(interface.name); nft list ruleset; or name the others in "
          + "peers")
    }
  }

  mutating func checkMount() {
    let wanted = effective["mount"] ?? "/v"
    guard !wanted.isEmpty else { return add(.ok, "mount", "none is wanted by the configuration") }
    guard let mount = Mounts.all.last(where: { $0.point == wanted }), mount.type == "fuse.v" else {
      return add(
        report == nil ? .warn : .fail, "mount", "V is not mounted on \(wanted)",
        "v mount \(wanted)")
    }
    if Mounts.answers(wanted) {
      add(.ok, "mount", "\(wanted) answers, as \(mount.source)")
    } else {
      add(
        .fail, "mount", "\(wanted) is mounted, but does not answer: its node died or hangs",
        CommonOptions.startCommand)
    }
  }

  mutating func checkTime() {
    let daemons: Set = [
      "chronyd", "ntpd", "systemd-timesyn", "ntpsec", "openntpd", "ptp4l", "phc2sys",
    ]
    if let name = Processes.all.lazy.map(\.name).first(where: daemons.contains) {
      return add(.ok, "time", "kept by \(name)")
    }
    add(
      .warn, "time", "no program of this machine keeps its clock in time",
      "apt-get install chrony; a virtual machine may get the time from its host instead")
  }

  mutating func checkPeers() {
    guard let report else { return }
    guard report.isSealed else { return }
    let troubles = Diagnosis(report, prober).troubles
    let alive = report.peers.filter { !$0.isSilent }.map(\.name)
    for trouble in troubles {
      let isOwn = trouble.host == report.values["host"]
      // A problem that separates this host from all others is a failure of its own.
      add(
        isOwn && [.multicast, .name].contains(trouble.cause) ? .fail : .warn,
        isOwn ? "cluster" : "peer",
        "\(trouble.host): \(trouble.cause.rawValue): \(trouble.detail)", trouble.remedy)
    }
    if !alive.isEmpty {
      add(.ok, "peers", "heard: \(alive.sorted().joined(separator: " "))")
    } else if troubles.isEmpty {
      add(
        .warn, "peers", "no other node was heard",
        "start the others with the same cluster key; v status there")
    }
  }
}
