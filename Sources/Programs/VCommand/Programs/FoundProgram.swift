package import ArgumentParser
import VAttach
package import VClient
package import VProtocol
import VRuntime

/// A host's programs, as its listing has them.
package enum Listing {
  /// An entry of `team/HOST`.
  package struct Entry {
    /// `12.sort`.
    package var name: String
    /// Started through the team server, not by the host itself.
    package var isProgram: Bool
  }

  /// By number.
  package static func entries(
    of host: String, _ session: Session, limit: TimeSpan
  ) throws(Refusal) -> [Entry] {
    let team = try session.open("team/\(host)", [.read, .directory], limit: limit)
    defer { team.close() }
    return try team.records(limit: limit).compactMap { record in
      let name = String(decoding: record.name, as: UTF8.self)
      guard record.kind.isContext, ProgramName(name) != nil else { return nil }
      // Only a program that was started there has a generation of its own.
      return Entry(name: name, isProgram: record.identity.generation != 0)
    }
  }
}

extension NodeOptions {
  /// The program that somebody named; the host is asked only for a name that is not whole.
  ///
  /// An outage of its host is borne for `wait`.
  package func program(
    _ text: String, _ verb: String, _ session: Session, wait: Int = 0,
    told: @escaping @Sendable (OutageNotice, _ host: String) -> Void = { _, _ in }
  ) throws(Failure) -> RemoteProgram {
    guard let name = ProgramName(text) else {
      throw Failure(
        status: .usage,
        description: "\(verb): '\(text)' names no program; moa/12.sort, moa/12 or 12 would")
    }
    let host = name.host ?? session.node.host
    let program = { (name: String) in
      RemoteProgram(
        name, on: host, session, wait: .seconds(Int64(wait)), told: { told($0, host) })
    }
    if let full = name.full { return program(full) }
    do throws(Refusal) {
      let entries = try Listing.entries(
        of: host, session, limit: .milliseconds(timeoutMilliseconds))
      if let found = entries.first(where: { $0.isProgram && name.matches($0.name) }) {
        return program(found.name)
      }
      throw Refusal(.notFound)
    } catch {
      throw Failure.ofProgram(text, verb, error, session)
    }
  }
}

extension Failure {
  /// What a manager said about a program that somebody named.
  package static func ofProgram(
    _ text: String, _ verb: String, _ refusal: Refusal, _ session: Session
  ) -> Failure {
    guard session.node.isAttached else { return .nodeLost }
    if refusal.code == .userTimeout {
      return Failure(status: .timeLimit, description: "\(verb) \(text): no answer in time")
    }
    let isGone = [.notFound, .invalidFileID].contains(refusal.code) && refusal.words.isEmpty
    return Failure(
      status: .refused,
      description: "\(verb) \(text): \(isGone ? "no such program" : "\(refusal)")")
  }
}

extension CompletionKind {
  /// Programs that were started through team servers.
  package static let program = CompletionKind.shellCommand("v ps --quiet --all 2>/dev/null")
}
