import ArgumentParser
import VAttach
import VCommand
import VProtocol
import VRuntime

/// `v forget`: removes the names of a host or server that is gone from the listings of all hosts.
struct Forget: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Removes names of a host or a server that is gone from all listings.",
    discussion: """
      Example: v forget moa

      A host's name stands for all names that the host has served; storage/moa for that one \
      name. What is below it is then "No such file" instead of "Host is down". A host that answers \
      is not forgotten, and a host that is back has its names again. Only root may forget. Without \
      this command names are forgotten after 30 days (forget_days in the configuration).
      """)

  @OptionGroup var options: CommonOptions

  @Argument(help: ArgumentHelp("A host, or a name such as storage/moa.", valueName: "name"))
  var name: String

  func run() throws {
    try options.answer("forget \(name)") { names in
      let octets = try names.name(of: name)
      guard Claim.isPrefix(octets) else { throw names.failure("no name of a server") }
      let prefix = String(decoding: octets, as: UTF8.self)
      // A single name is a host's, or else a prefix.
      var tries = [prefix]
      if !prefix.contains("/") { tries.insert("host/\(prefix)", at: 0) }
      for prefix in tries {
        switch try names.forget(prefix) {
        case .ok:
          return Reply(
            ["forgotten": prefix],
            text: prefix.hasPrefix("host/")
              ? "\(prefix.dropFirst(5)) is forgotten, with all its names" : "\(prefix) is forgotten"
          )
        case .inUse: throw names.failure("it answers; what is there is not forgotten")
        case .noPermission: throw names.failure("only root of this host forgets names")
        case .notFound: continue
        case let code: throw names.failure("\(code)")
        }
      }
      throw names.failure("no such name is listed")
    }
  }
}

extension Names {
  /// What the directory of this host says to forgetting a prefix.
  fileprivate func forget(_ prefix: String) throws(Failure) -> ReplyCode {
    try trying { session, left throws(Refusal) in
      let operation = ForgetName(prefix: Array(prefix.utf8))
      do throws(Refusal) {
        _ = try session.send(operation, to: session.directory, limit: left)
        return .ok
      } catch {
        guard [.inUse, .noPermission, .notFound].contains(error.code) else { throw error }
        return error.code
      }
    }
  }
}
