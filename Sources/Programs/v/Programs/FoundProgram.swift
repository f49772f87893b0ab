import ArgumentParser
import VAttach
import VProtocol
import VRuntime

/// A host's programs, from its listing.
enum Listing {
  /// An entry of `team/HOST`.
  struct Entry {
    /// `12.sort`.
    var name: String
    /// Whether it was started through the team server, not by the host itself.
    var isProgram: Bool
  }

  /// By number.
  static func entries(
    of host: String, _ node: AttachedBackplane, limit: TimeSpan
  ) throws(Refused) -> [Entry] {
    let team = try OpenObject(
      "team/\(host)", [.read, .directory], Conversation(node), limit: limit)
    defer { team.release() }
    return try team.records(limit: limit).compactMap { record in
      let name = String(decoding: record.name, as: UTF8.self)
      guard record.kind.isContext, ProgramName(name) != nil else { return nil }
      // Only a program that was started there has a generation of its own.
      return Entry(name: name, isProgram: record.identity.generation != 0)
    }
  }
}

extension NodeOptions {
  /// A program by its name; the host is asked only if the name is not complete.
  func program(
    _ text: String, _ verb: String, _ node: AttachedBackplane
  ) throws(Failure) -> RemoteProgram {
    guard let name = ProgramName(text) else {
      throw Failure(
        status: .usage,
        description: "\(verb): '\(text)' names no program; moa/12.sort, moa/12 or 12 would")
    }
    let host = name.host ?? node.host
    if let full = name.full { return RemoteProgram(full, on: host, node) }
    do throws(Refused) {
      let entries = try Listing.entries(
        of: host, node, limit: .milliseconds(timeoutMilliseconds))
      if let found = entries.first(where: { $0.isProgram && name.matches($0.name) }) {
        return RemoteProgram(found.name, on: host, node)
      }
      throw Refused(.notFound)
    } catch {
      throw Failure.ofProgram(text, verb, error, node)
    }
  }
}

extension Failure {
  /// A manager's refusal about a named program.
  static func ofProgram(
    _ text: String, _ verb: String, _ refused: Refused, _ node: AttachedBackplane
  ) -> Failure {
    guard node.isAttached else { return .nodeLost }
    if refused.code == .userTimeout {
      return Failure(status: .timeLimit, description: "\(verb) \(text): no answer in time")
    }
    let isGone = [.notFound, .invalidFileID].contains(refused.code) && refused.words.isEmpty
    return Failure(
      status: .refused,
      description: "\(verb) \(text): \(isGone ? "no such program" : "\(refused)")")
  }
}

extension CompletionKind {
  /// Programs that were started through team servers.
  static let program = CompletionKind.shellCommand("v ps --quiet --all 2>/dev/null")
}
