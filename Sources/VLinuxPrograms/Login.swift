import CVLinux
import VProtocol
import VStore

/// What a user of this host has to be to run programs; looking for one may take long.
struct Login {
  var uid: UInt32 = 0
  var gid: UInt32 = 0
  var groups: [UInt32]
  var home: [UInt8]
  var shell: [UInt8]
  private let name: String

  init(_ name: String) throws(MachineRefusal) {
    self.name = name
    groups = [UInt32](repeating: 0, count: KeeperOrder.groupsMax)
    var count = Int32(KeeperOrder.groupsMax)
    var home = [CChar](repeating: 0, count: Self.pathBytesMax)
    var shell = home
    guard unsafe v_user_by_name(name, &uid, &gid, &groups, &count) > 0,
      unsafe v_user_places(name, &home, &shell, Self.pathBytesMax) > 0
    else { throw MachineRefusal(.notFound, "no such user: \(name)") }
    groups.removeLast(groups.count - Int(count))
    self.home = Self.text(home)
    self.shell = Self.text(shell)
  }

  private static let pathBytesMax = 4096

  private static func text(_ octets: [CChar]) -> [UInt8] {
    octets.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
  }

  /// The order with the variables that every login has.
  func completing(_ order: ProgramOrder) -> ProgramOrder {
    let path =
      uid == 0
      ? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
      : "/usr/local/bin:/usr/bin:/bin"
    let variables: [(name: String, value: [UInt8])] = [
      ("HOME", home), ("USER", Array(name.utf8)), ("LOGNAME", Array(name.utf8)),
      ("SHELL", shell.isEmpty ? Array("/bin/sh".utf8) : shell), ("PATH", Array(path.utf8)),
    ]
    var order = order
    for variable in variables {
      let start = Array("\(variable.name)=".utf8)
      guard !order.environment.contains(where: { $0.starts(with: start) }) else { continue }
      order.environment.append(start + variable.value)
    }
    return order
  }
}

extension ProgramOrder {
  /// What makes it impossible, before anybody looks at the machine.
  var fault: MachineRefusal? {
    func refusal(_ words: String) -> MachineRefusal { MachineRefusal(.badArguments, words) }
    let parts = arguments + environment
    if arguments.isEmpty || arguments[0].isEmpty { return refusal("no program is named") }
    if parts.count + KeeperFrame.variablesAdded > KeeperFrame.partsMax {
      return refusal("more than \(KeeperFrame.partsMax) arguments and variables")
    }
    if parts.reduce(directory.count, { $0 + $1.count + 1 }) > Self.octetsMax {
      return refusal("more than \(Self.octetsMax) octets of arguments and variables")
    }
    if (parts + [directory]).contains(where: { $0.contains(0) }) {
      return refusal("a NUL in an argument")
    }
    if directory.count >= 4096 { return MachineRefusal(.nameTooLong, "the directory's name") }
    if name.utf8.count > 32 || user.utf8.count > 255 || starter.utf8.count > 255 {
      return MachineRefusal(.nameTooLong, "the name of program, user or starter")
    }
    return nil
  }
}
