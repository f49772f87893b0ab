import ArgumentParser
import VAttach
import VProtocol
import VRuntime

/// `v query`: shows V's data of one object or process.
struct Query: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the descriptor of an object, or the state of a process.",
    discussion: """
      Example: v query storage/moa/hello

      A name is one of V (storage/moa/hello) or one below /v. A process is named by its entity, \
      as v ls host/HOST/proc lists them, wherever it is.
      """)

  @OptionGroup var options: CommonOptions

  @Argument(help: ArgumentHelp("A name, or an entity such as BE-16-10.77.0.2.", valueName: "name"))
  var target: String

  func run() throws {
    try options.answer("query \(target)") { names in
      if let process = EntityID(target) {
        let (answer, _) = try names.send(QueryProcess(process), to: .processGroup)
        return Reply(members: Self.members(ofProcess: answer.text), text: answer.text)
      }
      let members = Self.members(try names.find(target, followsLast: false))
      return Reply(
        members: members,
        text: members.map { "\($0.0) \(Self.plain($0.1))" }.joined(separator: "\n"))
    }
  }

  private static func members(ofProcess text: String) -> [(String, JSON)] {
    let lines = text.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1) }
      .filter { $0.count == 2 }
    let single = lines.filter { $0[0] != "group" }.map { line in
      (String(line[0]), line[1] == "-" ? JSON.null : .string(String(line[1])))
    }
    let groups = lines.filter { $0[0] == "group" }.map { JSON.string(String($0[1])) }
    return single + [("groups", .array(groups))]
  }

  /// Every field of a descriptor, by its name in text and JSON.
  static func members(_ found: Names.Found) -> [(String, JSON)] {
    let descriptor = found.descriptor
    let identity = descriptor.identity
    return [
      ("name", .string(found.path.isEmpty ? "." : found.path)),
      ("manager", .string("\(found.manager)")),
      ("kind", .string(descriptor.kind.word)),
      (
        "attributes",
        .array("\(descriptor.attributes)".split(separator: " ").map { .string(String($0)) })
      ),
      ("size", .number("\(descriptor.size)")),
      ("allocated", .number("\(descriptor.allocatedBytes)")),
      ("block_size", .number("\(descriptor.blockSize)")),
      ("owner", .string(descriptor.owner)),
      ("group", .string(descriptor.group)),
      ("permissions", .string("0" + String(descriptor.permissions, radix: 8))),
      ("links", .number("\(descriptor.links)")),
      ("modified_ns", .number("\(descriptor.modified)")),
      ("changed_ns", .number("\(descriptor.changed)")),
      ("accessed_ns", .number("\(descriptor.accessed)")),
      ("born_ns", .number("\(descriptor.born)")),
      (
        "identity",
        .string("\(identity.device)/\(identity.inode)/\(identity.generation)")
      ),
      ("context", .number("\(descriptor.context.rawValue)")),
    ]
  }

  private static func plain(_ value: JSON) -> String {
    switch value {
    case .string(let text): text
    case .array(let values): values.map(plain).joined(separator: " ")
    default: value.text
    }
  }
}

extension ObjectKind {
  var word: String {
    switch self {
    case .file: "file"
    case .context: "context"
    case .symbolicLink: "link"
    case .fifo: "fifo"
    case .socket: "socket"
    case .characterDevice: "character-device"
    case .blockDevice: "block-device"
    case .sharedContext: "shared-context"
    default: "kind-\(rawValue)"
    }
  }
}
