import ArgumentParser
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
      let records = try names.records(names.read(found, [.read, .directory]))
      let entries = records.map { String(decoding: $0.name, as: UTF8.self) }.sorted()
      let list = JSON.array(entries.map { .string($0) })
      return Reply(
        members: name.map { [("group", .string($0)), ("members", list)] } ?? [("groups", list)],
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
      return Reply(members: [("group", .string(group.name))], text: "")
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
      return Reply(members: [("group", .string(group.name))], text: "")
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
      return Reply(
        members: [("group", .string(group.name)), ("member", .string(member))], text: "")
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
      return Reply(
        members: [("group", .string(group.name)), ("member", .string(member))], text: "")
    }
  }
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
      let replies = lines.map { line -> JSON in
        let parts = line.split(separator: ": ", maxSplits: 1)
        return .object([
          ("member", .string(String(parts[0]))), ("words", .string(String(parts.last ?? ""))),
        ])
      }
      return Reply(
        members: [("group", .string(group.name)), ("replies", .array(replies))],
        text: lines.joined(separator: "\n"))
    }
    guard failed == 0 else {
      throw Failure(
        status: .refused,
        description: "group \(verb) \(group.name): \(failed) of \(all) did not do it")
    }
  }
}

extension Names {
  func add(
    _ name: String, below path: String, _ kind: ObjectKind, permissions: UInt32
  ) throws {
    let parent = try find(path)
    _ = try send(
      AddName(
        ContextName(parent.descriptor.context, Array(name.utf8)), kind: kind,
        permissions: permissions), to: parent.manager)
  }

  func remove(_ name: String, below path: String, isContext: Bool) throws {
    let parent = try find(path)
    _ = try send(
      RemoveName(
        ContextName(parent.descriptor.context, Array(name.utf8)), isContext: isContext),
      to: parent.manager)
  }

  /// Writes a line and reads the answer, in one instance.
  func exchange(_ text: String, with path: String) throws -> String {
    let found = try find(path)
    let (opened, manager) = try send(
      CreateInstance(found.name, mode: [.read, .write]), to: found.manager)
    defer { _ = try? send(ReleaseInstance(opened.instance), to: manager) }
    _ = try send(
      WriteInstance(opened.instance, position: 0, data: Array((text + "\n").utf8)), to: manager)
    var octets: [UInt8] = []
    while true {
      let (block, _) = try send(
        ReadInstance(opened.instance, position: 0, count: Message.segmentBytesMax), to: manager)
      guard !block.data.isEmpty else { return String(decoding: octets, as: UTF8.self) }
      octets += block.data
    }
  }
}
