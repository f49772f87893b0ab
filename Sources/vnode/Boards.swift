import Glibc
import VFileServer
import VGroupServer
import VLinuxPrograms
import VLinuxStore
import VNode
import VPipeServer
import VProtocol
import VRuntime
import VTeamServer

/// The boards of a node that run as well in processes of their own (`v serve`): those that the
/// configuration names.
struct Boards {
  private let host: String
  private let exportCount: Int
  private let fileServer: FileServer?
  private let pipeServer: PipeServer?
  private let programs: LinuxPrograms
  private let teamServer: TeamServer?
  private let groupServer: GroupServer?

  static let names = ["file", "pipe", "team", "group"]

  /// Plugs the boards in; before the machine starts threads.
  init(_ node: Node, _ configuration: Configuration, _ users: LinuxUsers) throws {
    host = configuration.host
    if configuration.boards.contains("file") {
      fileServer = try FileServer(
        node, store: LinuxStore(), users: users,
        exports: configuration.exports.map { export in
          Export(
            prefix: Array(export.prefix.utf8), path: export.path, isReadOnly: export.isReadOnly,
            allowedHosts: export.allow, rootHosts: export.root)
        })
      exportCount = configuration.exports.count
    } else {
      (fileServer, exportCount) = (nil, 0)
    }
    if configuration.boards.contains("pipe") {
      pipeServer = PipeServer(node)
    } else {
      pipeServer = nil
    }
    programs = LinuxPrograms(node, users: users, outlivesServer: configuration.keepsPrograms)
    if configuration.boards.contains("team") {
      guard
        let rules = RunRules(
          configuration.run, host: host, guest: configuration.guestUser)
      else {
        preconditionFailure("the configuration was read with rules that are none")
      }
      teamServer = TeamServer(node, programs, rules: rules)
    } else {
      teamServer = nil
    }
    groupServer = configuration.boards.contains("group") ? GroupServer(node) : nil
  }

  var prefixCount: Int {
    let alone = [pipeServer != nil, teamServer != nil, groupServer != nil]
    return exportCount + alone.count { $0 }
  }

  /// Claims every prefix; `told` gets each with what stands behind it, and what became of it.
  func claim(
    in directory: EntityID,
    told: @escaping @Sendable (_ prefix: String, _ place: String, ReplyCode) -> Void
  ) {
    fileServer?.claim(in: directory) { export, code in
      told(String(decoding: export.prefix, as: UTF8.self), " from \(export.path)", code)
    }
    pipeServer?.claim(in: directory) { [host] code in told("pipe/\(host)", "", code) }
    teamServer?.claim(in: directory) { [host] code in told("team/\(host)", "", code) }
    groupServer?.claim(in: directory) { code in told(GroupServer.prefix, "", code) }
  }

  /// Ends what was started here, and waits for that: programs keep the mount busy.
  func stop() {
    teamServer?.endPrograms()
    for _ in 0..<500 where !programs.isEmpty { usleep(10_000) }
  }
}
