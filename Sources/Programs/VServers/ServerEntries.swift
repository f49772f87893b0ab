import Glibc
public import VFileServer
import VGroupServer
import VLinuxPrograms
public import VLinuxStore
import VObjects
import VPipeServer
import VProtocol
import VRAMServer
import VRuntime
import VStore
import VTeamServer

/// The options of servers, from a configuration or a command line.
public struct ServerOptions: Sendable {
  /// The user table of this host, of which a process has one.
  public var users: LinuxUsers
  /// For the file server; nil for the host's own directory.
  public var exports: [Export]?
  /// For the team server: users of other hosts who may start programs, `USER@HOST`.
  public var run: [String] = []
  /// For the team server: the user that runs the programs of guests.
  public var guestUser: String?
  /// For the team server: whether programs outlive a node that was killed.
  public var keepsPrograms = true

  public init(users: LinuxUsers) { self.users = users }
}

extension ServerEntry {
  static let fileServer = ServerEntry(
    name: "file", summary: "directories of this host, storage/HOST", isUsual: true
  ) { options throws(ServerFailure) in
    let store: LinuxStore
    do throws(StoreFailure) {
      store = try LinuxStore()
    } catch {
      guard case .refused(let code) = error else { preconditionFailure("opening /proc waits") }
      throw ServerFailure(description: "/proc/self/fd, by which files are opened: \(code)")
    }
    return { node throws(ServerFailure) in
      let exports =
        options.exports
        ?? [Export(prefix: Array("storage/\(node.host)".utf8), path: "/srv/storage")]
      let server: FileServer
      do throws(ExportFailure) {
        server = try FileServer(
          node, store: store, users: options.users, exports: exports,
          limits: FileLimits(descriptors: descriptorLimit()))
      } catch {
        throw ServerFailure(description: "\(error)")
      }
      return RunningServer(
        prefixes: exports.map { (String(decoding: $0.prefix, as: UTF8.self), $0.path) },
        claim: { directory, told in
          server.claim(in: directory) { told(String(decoding: $0.prefix, as: UTF8.self), $1) }
        },
        change: { options throws(ServerFailure) in
          do throws(ExportFailure) {
            try server.change(to: options.exports ?? exports)
          } catch {
            throw ServerFailure(description: "\(error)")
          }
        })
    }
  }

  /// How many descriptors this process may have.
  private static func descriptorLimit() -> Int {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
      return 0
    }
    return Int(clamping: limit.rlim_cur)
  }

  static let pipeServer = ServerEntry(
    name: "pipe", summary: "pipes, pipe/HOST", isUsual: true
  ) { _ throws(ServerFailure) in
    { node throws(ServerFailure) in
      let server = PipeServer(node)
      let prefix = "pipe/\(node.host)"
      return RunningServer(
        prefixes: [(prefix, nil)],
        claim: { directory, told in server.claim(in: directory) { told(prefix, $0) } })
    }
  }

  static let teamServer = ServerEntry(
    name: "team", summary: "programs, team/HOST", isUsual: true
  ) { options throws(ServerFailure) in
    { node throws(ServerFailure) in
      let rules = try runRules(options, host: node.host)
      let programs = LinuxPrograms(
        node, users: options.users, outlivesServer: options.keepsPrograms)
      let server = TeamServer(node, programs, rules: rules)
      let prefix = "team/\(node.host)"
      return RunningServer(
        prefixes: [(prefix, nil)],
        claim: { directory, told in server.claim(in: directory) { told(prefix, $0) } },
        end: {
          server.endPrograms()
          // Programs keep a mount busy.
          for _ in 0..<endTries where !programs.isEmpty { usleep(10_000) }
        },
        change: { options throws(ServerFailure) in
          rules.replace(by: try runRules(options, host: node.host))
        })
    }
  }

  private static func runRules(
    _ options: ServerOptions, host: String
  ) throws(ServerFailure) -> RunRules {
    guard let rules = RunRules(options.run, host: host, guest: options.guestUser) else {
      throw ServerFailure(
        description: "run: USER@HOST each, not \(options.run.joined(separator: ", "))")
    }
    return rules
  }

  /// How long programs may take to end, in hundredths of a second.
  private static let endTries = 500

  static let groupServer = ServerEntry(
    name: "group", summary: "groups, group", isUsual: true
  ) { _ throws(ServerFailure) in
    { node throws(ServerFailure) in
      let server = GroupServer(node)
      return RunningServer(
        prefixes: [(GroupServer.prefix, nil)],
        claim: { directory, told in server.claim(in: directory) { told(GroupServer.prefix, $0) } })
    }
  }

  static let ramFileServer = ServerEntry(
    name: "ram", summary: "files in memory, ram/HOST", isUsual: false
  ) { _ throws(ServerFailure) in
    { node throws(ServerFailure) in
      let prefix = "ram/\(node.host)"
      let server = RAMFileServer(node, prefix: prefix)
      return RunningServer(
        prefixes: [(prefix, nil)],
        claim: { directory, told in server.manager.claim(in: directory) { told(prefix, $0) } })
    }
  }
}
