package import ArgumentParser
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v status`: this host's node, what it knows of the others, and why one of them is silent.
package struct Status: ParsableCommand {
  package static let configuration = CommandConfiguration(
    abstract: "Shows this host's node, the nodes it has heard of, and why one is silent.",
    discussion: """
      Example: v status --json

      A node is silent when nothing has come from it for 2 seconds and it does not answer now. \
      Where something is wrong, lines below the table say what, and what to do about it.
      """)

  @Flag(name: .shortAndLong, help: "Also kernels, what the node has counted, and what it refused.")
  var verbose = false

  @OptionGroup var options: CommonOptions

  package init() {}

  package func run() throws {
    let node = try options.attach()
    defer { node.close() }
    var report = try options.report(of: node, "status")
    // The kernel remembers those longer that are forgotten.
    let session = Session(node)
    let names = Names(session, options, for: "status", limit: .milliseconds(500))
    if let listed = try? names.list("host") { report.leaveOutSilent(besides: Set(listed)) }
    let troubles = Diagnosis(report, Prober(seconds: options.timeout)).troubles
    let looks = HostLook.at([node.host] + report.presentHosts, session, options)
    guard !options.json else { return say(JSON.reply(StatusReply(report, troubles, looks)).text) }
    say(StatusText(report, troubles, looks, isVerbose: verbose).text)
  }
}
