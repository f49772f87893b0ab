import Foundation
import Synchronization
import VAttach
import VKernelServers
import VNode
import VProtocol
import VRuntime

/// Two nodes on loopback in this process, which find each other by multicast; for all tests.
struct Cluster: Sendable {
  static let shared = Cluster()

  let kea: Node
  let moa: Node
  let keaServer: NodeServer
  let moaServer: NodeServer

  init() {
    // So that other test runs on this machine are not heard.
    let groupPort = UInt16.random(in: 20_000...32_000)
    func start(_ host: String) -> (Node, NodeServer) {
      do {
        let machine = try LinuxMachine(
          named: IPAddress(ipv4: 0x7F00_0001), port: 0, groupPort: groupPort)
        let node = Node(
          host: host, machine: machine, secret: [UInt8](repeating: 7, count: 32))
        machine.run(node)
        node.announce()
        let server = NodeServer(
          node, kernel: node.id, addresses: machine.places.map { "\($0)" },
          register: {
            node.makeServer(
              discriminator: EntityID.nodeServerDiscriminator, knowsPrincipals: false, $0)
          },
          snapshot: {
            NodeSnapshot(
              isSealing: node.isSealing, counters: [], rejected: [], attached: nil,
              peers: node.peers.map {
                NodeSnapshot.Peer(
                  kernel: $0.kernel, locator: "\($0.locator)", age: $0.age,
                  roundTrip: $0.roundTrip, isSilent: $0.isSilent, isDeaf: $0.isDeaf,
                  host: $0.host)
              })
          })
        return (node, server)
      } catch {
        fatalError("\(error)")
      }
    }
    (kea, keaServer) = start("kea")
    (moa, moaServer) = start("moa")
  }
}

/// The users that every Debian host has, and no others.
struct DebianUsers: UserNames {
  private static let names: [UInt32: String] = [0: "root", 1: "daemon", 65534: "nobody"]

  func userName(_ id: UInt32) -> NameAnswer<String> {
    Self.names[id].map { .known($0) } ?? .absent
  }
  func groupName(_ id: UInt32) -> NameAnswer<String> { .absent }
  func userID(_ name: String) -> NameAnswer<UInt32> { .absent }
  func groupID(_ name: String) -> NameAnswer<UInt32> { .absent }
  func find(_ questions: [NameQuestion], _ done: @escaping @Sendable () -> Void) { done() }
}

/// A second socket on a node, so that its counters belong to one test.
final class Door: Sendable {
  let path: String
  let server: AttachServer

  init(
    _ node: Node, _ limits: AttachLimits = AttachLimits(), users: any UserNames = DebianUsers(),
    trimMemory: @escaping @Sendable () -> Void = {}
  ) throws {
    path = "/tmp/v-attach-\(getpid())-\(UInt32.random(in: 0 ... .max))/run/node.sock"
    try FileManager.default.createDirectory(
      atPath: String(path.dropLast("/run/node.sock".count)), withIntermediateDirectories: true)
    server = try AttachServer(
      node, kernel: node.id, path: path, users: users, limits: limits, processEnded: {},
      trimMemory: trimMemory)
  }

  deinit {
    server.close()
    try? FileManager.default.removeItem(atPath: String(path.dropLast("/run/node.sock".count)))
  }

  func attach() throws -> AttachedBackplane { try AttachedBackplane(socketPath: path) }
}

/// A process that exchanges the frames itself, correctly or not.
final class RawProcess: Sendable {
  let socket: Int32

  convenience init(_ path: String) throws { try self.init(path, connect: Self.connect) }

  private init(_ path: String, connect: (String) -> Int32) throws {
    socket = connect(path)
    guard socket >= 0 else { throw POSIXError(.ECONNREFUSED) }
    guard case .welcome? = receive() else { throw POSIXError(.EPROTO) }
  }

  private static func connect(_ path: String) -> Int32 {
    let socket = Glibc.socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0)
    var name = Self.name(path)
    let result = withUnsafePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    if result == 0 { return socket }
    close(socket)
    return -1
  }

  /// Connects as a user, which only root can do.
  convenience init(_ path: String, as uid: UInt32) throws {
    try self.init(path, connect: { name in asUser(uid) { Self.connect(name) } })
  }

  deinit { close(socket) }

  /// Leaves the node.
  func end() { shutdown(socket, Int32(SHUT_RDWR)) }

  static func name(_ path: String) -> sockaddr_un {
    var name = sockaddr_un()
    name.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
    return name
  }

  func send(_ octets: [UInt8]) {
    _ = octets.withUnsafeBytes {
      Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
    }
  }

  func send(_ frame: AttachFrame) { send(FrameTests.emit(frame)) }

  /// The next frame; nil when the node closed the socket.
  func receive() -> AttachFrame? {
    var buffer = [UInt8](repeating: 0, count: AttachFrame.byteCountMax)
    let count = recv(socket, &buffer, buffer.count, 0)
    guard count > 0 else { return nil }
    return try? FrameTests.parse(Array(buffer[..<count])).get()
  }

  /// Asks for an entity.
  func make(_ frame: AttachFrame) -> EntityID? {
    send(frame)
    guard case .made(_, let entity)? = receive() else { return nil }
    return entity
  }
}

/// Runs `body` on a thread that has become another user: Linux has users for each thread.
func asUser<R: Sendable>(_ uid: UInt32, _ body: @escaping @Sendable () -> R) -> R {
  let result = Collected<R>()
  let isDone = DispatchSemaphore(value: 0)
  Thread.detachNewThread {
    // The library's own function would change all threads.
    typealias Call = @convention(c) (Int, Int, Int, Int) -> Int
    let call = unsafeBitCast(dlsym(nil, "syscall"), to: Call.self)
    precondition(uid == 0 || call(setresuidNumber, -1, Int(uid), -1) == 0, "root may be anybody")
    result.append(body())
    isDone.signal()
  }
  isDone.wait()
  return result.values[0]
}

#if arch(x86_64)
  private let setresuidNumber = 117
#else
  private let setresuidNumber = 147
#endif

/// Waits until a condition holds; false after 10 seconds.
func eventually(_ isSo: () -> Bool) -> Bool {
  for _ in 0..<5000 {
    if isSo() { return true }
    usleep(2000)
  }
  return isSo()
}

/// Collects values from several threads.
final class Collected<Value: Sendable>: Sendable {
  private let state = Mutex<[Value]>([])
  var values: [Value] { state.withLock { $0 } }
  func append(_ value: Value) { state.withLock { $0.append(value) } }
}

extension AttachedBackplane {
  /// A server that answers with the segment it got, and the client's principal in front.
  func makeEcho() -> EntityID {
    makeServer(knowsPrincipals: true) { [unowned self] request in
      let text = "\(request.principal.map { "\($0)" } ?? "-") "
      let segment = Array(text.utf8) + request.message.segment.prefix(16_000)
      reply(Message(MessageControlBlock(), segment: segment), to: request)
    }
  }

  func sendText(_ text: String, from client: EntityID, to server: EntityID) -> Response {
    sendAndWait(
      Message(MessageControlBlock(code: 0x7777), segment: Array(text.utf8)), from: client,
      to: server, options: SendOptions(timeLimit: .seconds(10)))
  }
}

extension Response {
  var text: String { String(decoding: message.segment, as: UTF8.self) }
}
