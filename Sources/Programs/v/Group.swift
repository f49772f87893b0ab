import ArgumentParser
import VClient
import VCommand
import VProtocol

/// `v group`: groups of processes and jobs, as `/v/group` shows them.
struct Group: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows groups, changes their members, and sends to all members at once.",
    discussion: """
      Example: v group suspend jobs

      A job is a group of programs: what is sent to it each of them takes as a command.
      """,
    subcommands: [
      GroupShow.self, GroupMake.self, GroupRemove.self, GroupJoin.self, GroupLeave.self,
      GroupSend.self, GroupSuspend.self, GroupResume.self, GroupKill.self,
    ],
    defaultSubcommand: GroupShow.self)
}

extension CompletionKind {
  fileprivate static let group = CompletionKind.shellCommand("ls /v/group 2>/dev/null")
}

/// The group, for the verbs that take one.
struct GroupArgument: ParsableArguments {
  @Argument(help: "The group.", completion: .group)
  var name: String

  func validate() throws {
    guard !name.isEmpty, !name.contains("/") else {
      throw ValidationError("'\(name)' is not the name of a group.")
    }
  }

  var path: String { "group/\(name)" }
}

/// `v group show`: the groups, or the members of one.
struct GroupShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Lists the groups, or the members of one.",
    discussion: "Example: v group jobs")

  @OptionGroup var options: CommonOptions

  @Argument(help: "A group; all of them if none is named.", completion: .group)
  var name: String?

  func run() throws {
    let path = name.map { "group/\($0)/members" } ?? "group"
    try options.answer(name.map { "group \($0)" } ?? "group") { names in
      let found = try names.find(path)
      let entries = try names.records(of: found)
        .map { String(decoding: $0.name, as: UTF8.self) }.sorted()
      return Reply(
        ReplyMembers(name.map { [("group", $0), ("members", entries)] } ?? [("groups", entries)]),
        text: entries.joined(separator: "\n"))
    }
  }
}

/// `v group make`: a new group.
struct GroupMake: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "make",
    abstract: "Makes a group; only its owner can send to it.",
    discussion: "Example: v group make jobs")

  @Flag(help: "Let everybody send to it and add members.")
  var open = false

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  func run() throws {
    try options.answer("group make \(group.name)") { names in
      try names.add(
        group.name, below: "group", .context, permissions: open ? 0o777 : 0o755)
      return Reply(["group": group.name])
    }
  }
}

/// `v group remove`: removes a group without members.
struct GroupRemove: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove",
    abstract: "Removes a group that has no members.",
    discussion: "Example: v group remove jobs")

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  func run() throws {
    try options.answer("group remove \(group.name)") { names in
      try names.remove(group.name, below: "group", isContext: true)
      return Reply(["group": group.name])
    }
  }
}

/// `v group join`: adds a member.
struct GroupJoin: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "join",
    abstract: "Makes a program, or a mailbox of this host, a member of a group.",
    discussion: """
      Example: v group join jobs moa:12.sort

      HOST:NUMBER.PROGRAM is a program; any other name is a mailbox, read at \
      /v/group/GROUP/members/NAME.
      """)

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  @Argument(help: "The member.")
  var member: String

  func run() throws {
    try options.answer("group join \(group.name) \(member)") { names in
      try names.add(member, below: group.path + "/members", .file, permissions: 0o600)
      return Reply(GroupMembership(group: group.name, member: member))
    }
  }
}

/// `v group leave`: removes a member.
struct GroupLeave: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "leave",
    abstract: "Removes a member from a group.",
    discussion: "Example: v group leave jobs moa:12.sort")

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  @Argument(help: "The member.")
  var member: String

  func run() throws {
    try options.answer("group leave \(group.name) \(member)") { names in
      try names.remove(member, below: group.path + "/members", isContext: false)
      return Reply(GroupMembership(group: group.name, member: member))
    }
  }
}

/// Who was made a member of which group, or is one no more.
private struct GroupMembership: Encodable {
  var group: String
  var member: String
}

// MARK: - Messages

/// `v group send`: sends a message, and prints each member's answer.
struct GroupSend: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "send",
    abstract: "Sends a message to all members and prints the answer of each.",
    discussion: "Example: v group send jobs class guest")

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  @Argument(parsing: .captureForPassthrough, help: "The message.")
  var text: [String]

  func run() throws {
    try options.send(text.joined(separator: " "), to: group, "send")
  }
}

/// `v group suspend`: suspends a job.
struct GroupSuspend: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "suspend",
    abstract: "Suspends all programs of a group.",
    discussion: "Example: v group suspend jobs")

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  func run() throws { try options.send("suspend", to: group, "suspend") }
}

/// `v group resume`: resumes a job.
struct GroupResume: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resume",
    abstract: "Resumes all programs of a group.",
    discussion: "Example: v group resume jobs")

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  func run() throws { try options.send("resume", to: group, "resume") }
}

/// `v group kill`: sends a signal to a job.
struct GroupKill: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kill",
    abstract: "Sends a signal to all programs of a group.",
    discussion: "Example: v group kill --signal INT jobs")

  @Option(name: .shortAndLong, help: "The signal (default: TERM).")
  var signal: String?

  @OptionGroup var options: CommonOptions
  @OptionGroup var group: GroupArgument

  func run() throws {
    try options.send(signal.map { "kill \($0)" } ?? "kill", to: group, "kill")
  }
}

extension CommonOptions {
  /// Exit status 1 if a member refuses, or if there may be members that did not get it.
  fileprivate func send(_ text: String, to group: GroupArgument, _ verb: String) throws {
    var (failed, all) = (0, 0)
    try answer("group \(verb) \(group.name)") { names in
      let lines = try names.exchange(text, with: group.path + "/send").split(separator: "\n")
      all = lines.count
      failed = lines.count { line in !["ok", "taken"].contains { line.hasSuffix(": \($0)") } }
      let replies = lines.map { line in
        let parts = line.split(separator: ": ", maxSplits: 1)
        return GroupReplies.One(member: String(parts[0]), words: String(parts.last ?? ""))
      }
      return Reply(
        GroupReplies(group: group.name, replies: replies), text: lines.joined(separator: "\n"))
    }
    guard failed == 0 else {
      throw Failure(
        status: .refused,
        description: "group \(verb) \(group.name): \(failed) of \(all) did not do it")
    }
  }
}

/// What the members of a group said.
private struct GroupReplies: Encodable {
  struct One: Encodable {
    var member: String
    var words: String
  }

  var group: String
  var replies: [One]
}

extension Names {
  fileprivate func add(
    _ name: String, below path: String, _ kind: ObjectKind, permissions: UInt32
  ) throws(Failure) {
    _ = try ask(about: try find(path), name) {
      AddName($0.name, kind: kind, permissions: permissions)
    }
  }

  fileprivate func remove(_ name: String, below path: String, isContext: Bool) throws(Failure) {
    _ = try ask(about: try find(path), name) { RemoveName($0.name, isContext: isContext) }
  }
}
