package import ArgumentParser
import Glibc
package import VAttach
import VProtocol
import VRuntime

/// What every command takes that prints something.
package struct CommonOptions: ParsableArguments {
  package init() {}

  @Flag(help: "Print one JSON object instead of text for people.")
  package var json = false

  @OptionGroup var node: NodeOptions

  package var timeout: Double { node.timeout }
  package var timeoutMilliseconds: Int64 { node.timeoutMilliseconds }
  package var socketPath: String { node.socketPath }
  package func attach() throws(Failure) -> AttachedBackplane { try node.attach() }
}

/// What every command takes that asks a node.
package struct NodeOptions: ParsableArguments {
  package init() {}

  @Option(help: "Give up after so many seconds.")
  package var timeout = 5.0

  @Option(
    help: ArgumentHelp(
      "The node's socket (default: $V_SOCKET, or /run/v/node.sock).", valueName: "path"))
  package var socket: String?

  package func validate() throws {
    guard timeout > 0, timeout <= 3600 else {
      throw ValidationError("--timeout takes a number of seconds, above 0 and at most 3600.")
    }
  }

  package var timeoutMilliseconds: Int64 { max(1, Int64((timeout * 1000).rounded(.up))) }

  /// Attaches to the node of this host.
  package func attach() throws(Failure) -> AttachedBackplane {
    do throws(AttachError) {
      return try AttachedBackplane(
        socketPath: socketPath, timeLimit: .milliseconds(timeoutMilliseconds))
    } catch {
      let isThere = error.isSilent
      throw Failure(
        status: isThere ? .timeLimit : .noNode,
        description: "\(error)",
        remedy: isThere ? nil : "to start it: \(CommonOptions.startCommand)")
    }
  }

  package var socketPath: String { socket ?? AttachedBackplane.defaultSocketPath }
}

extension CommonOptions {
  /// The one command that starts this host's node.
  package static var startCommand: String {
    let units = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"]
    if access("/run/systemd/system", F_OK) == 0,
      units.contains(where: { access("\($0)/vnode.service", F_OK) == 0 })
    {
      return "systemctl start vnode"
    }
    return Installation.script("up") ?? "vnode"
  }
}

extension CommonOptions {
  /// Attaches, does the work of a verb and prints its reply.
  ///
  /// With `--json` a refusal is printed as well as thrown.
  package func answer(_ what: String, _ work: (Names) throws -> Reply) throws {
    do {
      let node = try attach()
      defer { node.close() }
      let reply = try work(Names(Session(node), self, for: what))
      if json {
        say(JSON.outcome(reply.body, error: nil).text)
      } else if !reply.text.isEmpty {
        // A program that reads names gets them as they are.
        say(isatty(1) == 1 ? Text.harmless(reply.text) : reply.text)
      }
    } catch let failure as Failure {
      if json { say(JSON.outcome(nil, error: failure.description).text) }
      throw failure
    }
  }
}
