import ArgumentParser
import VAttach
import VCommand
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
        let answer = try names.send(QueryProcess(process), to: .processGroup)
        return Reply(Self.members(ofProcess: answer.text), text: answer.text)
      }
      let found = ObjectReply(try names.find(target, followsLast: false))
      guard case .object(let members) = JSON(found) else { return Reply(found) }
      return Reply(
        found,
        text: members.map { "\($0.name) \($0.value.plainText)" }.joined(separator: "\n"))
    }
  }

  private static func members(ofProcess text: String) -> ReplyMembers {
    let lines = text.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1) }
      .filter { $0.count == 2 }
    let single: [(name: String, value: any Encodable)] =
      lines.filter { $0[0] != "group" }.map { line in
        (String(line[0]), line[1] == "-" ? String?.none : String(line[1]))
      }
    let groups = lines.filter { $0[0] == "group" }.map { String($0[1]) }
    return ReplyMembers(single + [("groups", groups)])
  }
}

/// Every field of a descriptor, by the name that text and JSON have for it.
private struct ObjectReply: Encodable {
  private let name: String
  private let manager: String
  private let descriptor: Descriptor

  init(_ found: Names.Found) {
    name = found.path.isEmpty ? "." : found.path
    manager = "\(found.manager)"
    descriptor = found.descriptor
  }

  private enum CodingKeys: String, CodingKey {
    case name, manager, kind, attributes, size, allocated, owner, group, permissions, links
    case blockSize = "block_size"
    case modified = "modified_ns"
    case changed = "changed_ns"
    case accessed = "accessed_ns"
    case born = "born_ns"
    case identity, context
  }

  func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    try members.encode(name, forKey: .name)
    try members.encode(manager, forKey: .manager)
    try members.encode(descriptor.kind.word, forKey: .kind)
    let attributes = "\(descriptor.attributes)".split(separator: " ").map(String.init)
    try members.encode(attributes, forKey: .attributes)
    try members.encode(descriptor.size, forKey: .size)
    try members.encode(descriptor.allocatedBytes, forKey: .allocated)
    try members.encode(descriptor.blockSize, forKey: .blockSize)
    try members.encode(descriptor.owner, forKey: .owner)
    try members.encode(descriptor.group, forKey: .group)
    try members.encode("0" + String(descriptor.permissions, radix: 8), forKey: .permissions)
    try members.encode(descriptor.links, forKey: .links)
    try members.encode(descriptor.modified, forKey: .modified)
    try members.encode(descriptor.changed, forKey: .changed)
    try members.encode(descriptor.accessed, forKey: .accessed)
    try members.encode(descriptor.born, forKey: .born)
    let identity = descriptor.identity
    try members.encode(
      "\(identity.device)/\(identity.inode)/\(identity.generation)", forKey: .identity)
    try members.encode(descriptor.context.rawValue, forKey: .context)
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
