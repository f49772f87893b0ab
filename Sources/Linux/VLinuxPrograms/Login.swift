import VKeeping
import VProtocol
import VStore

extension UserAccount {
  /// An order of the user `name`, completed with the variables of every login.
  func completing(_ order: ProgramOrder) -> ProgramOrder {
    let path =
      credentials.isRoot
      ? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
      : "/usr/local/bin:/usr/bin:/bin"
    let name = Array(order.user.utf8)
    let variables: [(name: String, value: [UInt8])] = [
      ("HOME", home), ("USER", name), ("LOGNAME", name),
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
  /// The reason why it is impossible, before the machine is examined.
  var fault: Refusal? {
    func refusal(_ words: String) -> Refusal { Refusal(.badArguments, words) }
    let parts = arguments + environment
    if arguments.isEmpty || arguments[0].isEmpty { return refusal("no program is named") }
    if octetCount > Self.octetsMax { return .tooManyArguments(of: arguments[0]) }
    if (parts + [directory]).contains(where: { $0.contains(0) }) {
      return refusal("a NUL in an argument")
    }
    if directory.count >= 4096 { return Refusal(.nameTooLong, "the directory's name") }
    if name.utf8.count > 32 || user.utf8.count > 255 || starter.utf8.count > 255 {
      return Refusal(.nameTooLong, "the name of program, user or starter")
    }
    return nil
  }
}
