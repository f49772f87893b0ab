import Glibc
import Synchronization
import VAttach
import VObjects
import VProtocol
import VRuntime

/// The only operation of this protocol: the next number, which nobody else gets.
struct TakeTicket: Operation {
  struct Answer: OperationAnswer {
    var number: UInt32

    init(number: UInt32) { self.number = number }
    init(parsing message: Message) throws(WireError) { number = message.mcb[1] }

    var message: Message {
      var mcb = MessageControlBlock()
      mcb[1] = number
      return Message(mcb)
    }
  }

  static let code: UInt32 = 0x7F_0001

  init() {}
  init(parsing message: Message) throws(WireError) {}
  var message: Message { Message(MessageControlBlock(code: Self.code)) }
}

/// Hands out numbers, each once, over restarts too.
///
/// `tickets FILE` serves, `tickets take HOST` takes one.
///
/// The server is a message process: it receives a request, writes the number to the file, answers,
/// and receives the next. It needs no lock, because it does one thing at a time.
@main
enum Tickets {
  static func main() throws {
    let arguments = CommandLine.arguments
    let node = try AttachedBackplane()
    switch arguments.count {
    case 2: serve(arguments[1], node)
    case 3 where arguments[1] == "take": take(from: arguments[2], node)
    default: fatalError("usage: tickets FILE, or: tickets take HOST")
    }
  }

  private static func serve(_ path: String, _ node: AttachedBackplane) -> Never {
    let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { fatalError("\(path): \(String(cString: strerror(errno)))") }
    let process = MessageProcess(node)
    @Sendable func receive(after last: UInt32) {
      process.receive { request in
        // What may block is no work for the thread that reads from the node.
        node.disk {
          guard request.message.mcb.code == TakeTicket.code else {
            node.refuse(.illegalRequest, request)
            return receive(after: last)
          }
          var number = last + 1
          guard pwrite(file, &number, 4, 0) == 4, fdatasync(file) == 0 else {
            node.refuse(.deviceError, request)
            return receive(after: last)
          }
          node.reply(TakeTicket.Answer(number: number).message, to: request)
          receive(after: number)
        }
      }
    }
    var last: UInt32 = 0
    _ = pread(file, &last, 4, 0)
    receive(after: last)
    let claims = PrefixClaims(
      node, [(name: Array("tickets/\(node.host)".utf8), context: ContextID(rawValue: 1))])
    claims.answer(for: process.entity)
    claims.claim(in: NameSpace(of: node.kernel).directory) { _, code in
      print(code.isOK ? "tickets: ready" : "tickets: \(code)")
      fflush(nil)
      if !code.isOK { exit(1) }
    }
    node.whenDetached { exit(0) }
    while true { pause() }
  }

  private static func take(from host: String, _ node: AttachedBackplane) {
    let client = node.makeClient(user: node.user)
    let limit = SendOptions(timeLimit: .seconds(2))
    let name = ContextName(.none, Array("tickets/\(host)".utf8))
    guard
      case .done(let found, _) = node.sendAndWait(
        QueryName(name), from: client, to: .nameHandlingGroup, options: limit),
      case .done(let ticket, _) = node.sendAndWait(
        TakeTicket(), from: client, to: found.manager, options: limit)
    else { fatalError("tickets/\(host) is not served") }
    print(ticket.number)
  }
}
