import ArgumentParser
import VAttach
import VProtocol
import VRuntime

/// `v status`: shows this host's node and the others, and why one of them is silent.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows this host's node, the nodes it has heard of, and why one is silent.",
    discussion: """
      Example: v status --json

      A node is silent when nothing has come from it for 2 seconds and it does not answer now. \
      Where something is wrong, lines below the table say what, and what to do about it.
      """)

  @Flag(name: .shortAndLong, help: "Also kernels, the node's counters, and refused packets.")
  var verbose = false

  @OptionGroup var options: CommonOptions

  func run() throws {
    let node = try options.attach()
    defer { node.close() }
    var report = try options.report(of: node, "status")
    // The kernel still knows hosts that were forgotten.
    let names = Names(node, options, for: "status", limit: .milliseconds(500))
    if let listed = try? names.list("host") { report.leaveOutSilent(besides: Set(listed)) }
    let troubles = Diagnosis(report, Prober(seconds: options.timeout)).troubles
    let looks = HostLook.at([node.host] + report.presentHosts, node, options)
    guard !options.json else { return say(report.json(troubles, looks).text) }
    say(StatusText(report, troubles, looks, isVerbose: verbose).text)
  }
}

extension CommonOptions {
  /// The report of this host's node, or of the node of `kernel`.
  func report(
    of node: AttachedBackplane, kernel: KernelID? = nil, _ verb: String
  ) throws -> NodeReport {
    let client = node.makeClient(user: node.user)
    defer { node.retire(client) }
    let answer = node.sendAndWait(
      QueryNode(), from: client, to: .nodeServer(of: kernel ?? node.kernel),
      options: SendOptions(timeLimit: .milliseconds(timeoutMilliseconds)))
    switch answer {
    case .done(let found, _): return NodeReport(found.text)
    case .refused(.userTimeout):
      throw Failure(
        status: .timeLimit,
        description: "\(verb): \(node.host): the node did not answer within \(timeout) s")
    case .refused(let code):
      guard node.isAttached else { throw Failure.nodeLost }
      throw Failure(status: .refused, description: "\(verb): \(node.host): \(code)")
    }
  }
}

extension Failure {
  static var nodeLost: Failure {
    Failure(status: .noNode, description: "this host's node ended")
  }
}
