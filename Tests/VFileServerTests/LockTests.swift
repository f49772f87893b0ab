import Foundation
import Testing
import VFileServer
import VProtocol
import VRuntime

@Suite("Locks")
struct LockTests {
  /// A file that several owners have open.
  private final class Locked {
    let served: Served
    let instance: InstanceID

    init(limits: FileLimits = FileLimits(descriptors: 20_000)) throws {
      served = try Served(limits: limits)
      instance = try served.open("f", [.read, .write, .create])
    }

    func lock(
      _ kind: LockKind, _ range: ClosedRange<UInt64> = 0...9, by owner: UInt64,
      isWhole: Bool = false, _ how: LockInstance.How = .atOnce, grant: UInt64 = 0,
      in other: InstanceID? = nil
    ) -> LockInstance {
      LockInstance(
        other ?? instance,
        ObjectLock(kind, isWhole: isWhole, owner: owner, range: range, process: 77), how,
        grant: grant)
    }

    func code(_ operation: LockInstance) -> ReplyCode { served.code(operation) }

    /// Requests a lock that must be waited for.
    func begin(_ operation: LockInstance) -> EntityID {
      served.backplane.begin(operation.message, to: served.manager, as: Served.local)
    }

    func reply(to client: EntityID) -> ReplyCode? { served.backplane.reply(to: client)?.reply }
  }

  @Test(
    "what is unlocked is free, even if a process that is being started has copies of descriptors",
    arguments: [false, true])
  func copiedDescriptors(isWhole: Bool) throws {
    let file = try Locked()
    let range: ClosedRange<UInt64> = isWhole ? 0 ... .max : 0...9
    #expect(file.code(file.lock(.exclusive, range, by: 1, isWhole: isWhole)) == .ok)
    let copies = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap {
      name -> Int32? in
      let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + name)
      return path?.hasSuffix("/f") == true ? Int32(name).map { dup($0) } : nil
    }
    defer { for copy in copies { close(copy) } }
    #expect(!copies.isEmpty)
    #expect(file.code(file.lock(.none, range, by: 1, isWhole: isWhole)) == .ok)
    #expect(file.code(file.lock(.exclusive, range, by: 2, isWhole: isWhole)) == .ok)
  }

  @Test("owners exclude each other where their ranges overlap, and only there")
  func ranges() throws {
    let file = try Locked()
    #expect(file.code(file.lock(.exclusive, 0...9, by: 1)) == .ok)
    #expect(file.code(file.lock(.exclusive, 0...9, by: 1)) == .ok, "its own")
    #expect(file.code(file.lock(.shared, 9...9, by: 2)) == .wouldBlock)
    #expect(file.code(file.lock(.exclusive, 10 ... .max, by: 2)) == .ok)
    #expect(file.code(file.lock(.none, 4...5, by: 1)) == .ok)
    #expect(file.code(file.lock(.exclusive, 4...5, by: 3)) == .ok)
    let query = try file.served.ask(
      QueryLock(
        file.instance,
        ObjectLock(.shared, isWhole: false, owner: 3, range: 0...3, process: 0)))
    #expect(query.lock.kind == .exclusive && query.lock.range == 0...3)
    #expect(query.lock.process == 77)
  }

  @Test("locks of flock and of fcntl are independent")
  func scopes() throws {
    let file = try Locked()
    #expect(file.code(file.lock(.exclusive, by: 1)) == .ok)
    #expect(file.code(file.lock(.exclusive, 0 ... .max, by: 2, isWhole: true)) == .ok)
    #expect(file.code(file.lock(.shared, 0 ... .max, by: 3, isWhole: true)) == .wouldBlock)
  }

  @Test("programs of this host and clients exclude each other")
  func localPrograms() throws {
    let file = try Locked()
    let own = open(file.served.path + "/f", O_RDWR)
    defer { close(own) }
    try #require(flock(own, LOCK_EX | LOCK_NB) == 0)
    #expect(file.code(file.lock(.shared, 0 ... .max, by: 1, isWhole: true)) == .wouldBlock)
    let waiter = file.begin(file.lock(.shared, 0 ... .max, by: 1, isWhole: true, .waiting))
    file.served.backplane.runTimers()
    #expect(file.reply(to: waiter) == nil)
    try #require(flock(own, LOCK_UN) == 0)
    file.served.backplane.runTimers()
    #expect(file.reply(to: waiter) == .ok, "nobody tells of an unlock: it is looked for")
    #expect(flock(own, LOCK_EX | LOCK_NB) != 0)
    _ = try file.served.ask(ReleaseInstance(file.instance))
    #expect(flock(own, LOCK_EX | LOCK_NB) == 0)
  }

  @Test("all owners' locks of a file take one descriptor, and give it back")
  func oneDescriptor() throws {
    let file = try Locked()
    let before = file.served.descriptorCount(of: "f")
    for owner in 0..<500 as Range<UInt64> {
      #expect(file.code(file.lock(.exclusive, (2 * owner)...(2 * owner), by: owner)) == .ok)
    }
    #expect(file.served.descriptorCount(of: "f") == before + 1)
    #expect(file.code(file.lock(.exclusive, 0...10_000, by: 1000)) == .wouldBlock)
    for owner in 0..<500 as Range<UInt64> {
      #expect(file.code(file.lock(.none, 0 ... .max, by: owner)) == .ok)
    }
    #expect(file.served.descriptorCount(of: "f") == before)
    _ = file.code(file.lock(.exclusive, by: 1))
    _ = try file.served.ask(ReleaseInstance(file.instance))
    // The remaining descriptor is that of the object's context.
    #expect(file.served.descriptorCount(of: "f") == before - 1)
  }

  @Test("Linux holds the rest when one of several owners goes")
  func union() throws {
    let file = try Locked()
    let own = open(file.served.path + "/f", O_RDWR)
    defer { close(own) }
    /// Whether a program of this host could lock an octet so, as Linux sees it.
    func isFree(_ octet: Int, for type: Int32) -> Bool {
      var lock = flock(
        l_type: Int16(type), l_whence: Int16(SEEK_SET), l_start: octet, l_len: 1, l_pid: 0)
      let queryOpenFileLock: Int32 = 36
      return fcntl(own, queryOpenFileLock, &lock) == 0 && lock.l_type == Int16(F_UNLCK)
    }
    #expect(file.code(file.lock(.shared, 0...9, by: 1)) == .ok)
    #expect(file.code(file.lock(.shared, 5...14, by: 2)) == .ok)
    #expect(file.code(file.lock(.exclusive, 20...29, by: 1)) == .ok)
    #expect(!isFree(7, for: F_WRLCK) && isFree(7, for: F_RDLCK) && !isFree(25, for: F_RDLCK))
    #expect(file.code(file.lock(.none, 0...9, by: 1)) == .ok)
    #expect(isFree(4, for: F_WRLCK) && !isFree(5, for: F_WRLCK) && !isFree(14, for: F_WRLCK))
    #expect(file.code(file.lock(.shared, 20...24, by: 1)) == .ok, "less than it had")
    #expect(isFree(24, for: F_RDLCK) && !isFree(24, for: F_WRLCK) && !isFree(25, for: F_RDLCK))
    #expect(file.code(file.lock(.none, 0 ... .max, by: 2)) == .ok)
    #expect(isFree(5, for: F_WRLCK) && !isFree(25, for: F_RDLCK))
    #expect(file.code(file.lock(.none, 0 ... .max, by: 1)) == .ok)
    #expect(isFree(25, for: F_WRLCK))
  }

  @Test("a user who may only read a program cannot lock it against being run")
  func programs() throws {
    let file = try Locked()
    let program = file.served.path + "/p"
    try FileManager.default.copyItem(atPath: "/bin/true", toPath: program)
    chmod(program, 0o777)
    func canRun() -> Bool {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: program)
      guard (try? process.run()) != nil else { return false }
      process.waitUntilExit()
      return process.terminationStatus == 0
    }
    let reader = try file.served.open("p", .read)
    #expect(file.code(file.lock(.shared, 0...9, by: 1, in: reader)) == .ok)
    #expect(file.code(file.lock(.shared, 20...29, by: 2, in: reader)) == .ok)
    #expect(canRun())
    let writer = try file.served.open("p", [.read, .write])
    #expect(file.code(file.lock(.exclusive, 10...19, by: 3, in: writer)) == .ok)
    let own = open(program, O_RDONLY)
    defer { close(own) }
    func isFree(_ octet: Int) -> Bool {
      var lock = flock(
        l_type: Int16(F_WRLCK), l_whence: Int16(SEEK_SET), l_start: octet, l_len: 1, l_pid: 0)
      let queryOpenFileLock: Int32 = 36
      return fcntl(own, queryOpenFileLock, &lock) == 0 && lock.l_type == Int16(F_UNLCK)
    }
    #expect([5, 15, 25].allSatisfy { !isFree($0) } && isFree(30))
    #expect(file.code(file.lock(.none, 10...19, by: 3, in: writer)) == .ok)
    _ = try file.served.ask(ReleaseInstance(writer))
    #expect(!isFree(5) && isFree(15) && !isFree(25))
    #expect(canRun())
  }

  @Test("a program's lock on this host holds beside those of owners here")
  func refusedByLinux() throws {
    let file = try Locked()
    let own = open(file.served.path + "/f", O_RDWR)
    defer { close(own) }
    try #require(flock(own, LOCK_SH | LOCK_NB) == 0)
    let all: ClosedRange<UInt64> = 0 ... .max
    #expect(file.code(file.lock(.shared, all, by: 1, isWhole: true)) == .ok)
    #expect(file.code(file.lock(.exclusive, all, by: 1, isWhole: true)) == .wouldBlock)
    try #require(flock(own, LOCK_EX | LOCK_NB) == 0, "given up, as on Linux")
    #expect(file.code(file.lock(.shared, all, by: 2, isWhole: true)) == .wouldBlock)
    try #require(flock(own, LOCK_UN) == 0)
    #expect(file.code(file.lock(.exclusive, all, by: 2, isWhole: true)) == .ok)
  }

  @Test("the whole object is one lock, whatever range is given; and Linux counts with 63 bits")
  func ranges63() throws {
    let file = try Locked()
    #expect(file.code(file.lock(.exclusive, 0...1, by: 1, isWhole: true)) == .ok)
    #expect(file.code(file.lock(.exclusive, 5...6, by: 2, isWhole: true)) == .wouldBlock)
    let top = UInt64(Int64.max)
    #expect(file.code(file.lock(.exclusive, top...(.max), by: 1)) == .badArguments)
    #expect(file.code(file.lock(.exclusive, (top - 1)...(top + 5), by: 1)) == .ok)
    #expect(file.code(file.lock(.shared, (top - 1)...(.max), by: 2)) == .wouldBlock)
  }

  @Test(
    "a lock is its principal's, whatever owner and number others give", .enabled(if: Served.isRoot))
  func strangers() throws {
    let file = try Locked()
    let served = file.served
    chmod(served.path + "/f", 0o666)
    let (ann, bob) = (Principal(user: "ann", host: "kea"), Principal(user: "bob", host: "kea"))
    let process = EntityID(kernel: KernelID(0xC0A8_0001), discriminator: 77)
    func open(_ who: Principal) throws -> InstanceID {
      try served.ask(
        CreateInstance(served.name("f"), mode: [.read, .write], owner: process), as: who
      ).instance
    }
    let (anns, bobs) = (try open(ann), try open(bob))
    #expect(served.code(file.lock(.exclusive, by: 1, in: anns), as: ann) == .ok)
    #expect(served.code(file.lock(.shared, by: 1, in: bobs), as: bob) == .wouldBlock)
    #expect(served.code(file.lock(.none, 0 ... .max, by: 1, in: bobs), as: bob) == .ok)
    #expect(served.code(file.lock(.shared, by: 1, in: bobs), as: bob) == .wouldBlock)
    #expect(served.code(ReleaseInstance(bobs), as: bob) == .ok)
    #expect(file.code(file.lock(.shared, by: 9)) == .wouldBlock)
  }

  @Test("a principal beyond its share of locks is refused", .enabled(if: Served.isRoot))
  func shares() throws {
    var limits = FileLimits(descriptors: 20_000)
    (limits.lockedRanges, limits.lockedObjects) = (64, 64)
    let file = try Locked(limits: limits)
    chmod(file.served.path + "/f", 0o666)
    let bob = Principal(user: "bob", host: "kea")
    let bobs = try file.served.open("f", [.read, .write], as: bob)
    for octet in 0..<16 as Range<UInt64> {
      #expect(file.code(file.lock(.shared, (2 * octet)...(2 * octet), by: octet / 4)) == .ok)
    }
    #expect(file.code(file.lock(.shared, 100...100, by: 1)) == .noServerResources)
    #expect(file.code(file.lock(.shared, 100...100, by: 77)) == .noServerResources)
    #expect(file.code(file.lock(.shared, 0...0, by: 0)) == .ok, "no more than it has")
    #expect(file.served.code(file.lock(.shared, 0...9, by: 1, in: bobs), as: bob) == .ok)
    #expect(file.code(file.lock(.none, 0...0, by: 0)) == .ok)
    #expect(file.code(file.lock(.shared, 100...109, by: 1)) == .ok)
    // Splitting a range makes one range more.
    #expect(file.code(file.lock(.none, 105...105, by: 1)) == .noServerResources)
    #expect(file.code(file.lock(.shared, 100...109, by: 2)) == .noServerResources)
    for owner in 0..<4 as Range<UInt64> { _ = file.code(file.lock(.none, 0 ... .max, by: owner)) }
    var others: [InstanceID] = []
    for number in 0..<17 {
      others.append(try file.served.open("g\(number)", [.read, .write, .create]))
    }
    for instance in others.dropLast() {
      #expect(file.code(file.lock(.shared, by: 1, in: instance)) == .ok)
    }
    #expect(file.code(file.lock(.shared, by: 1, in: others[16])) == .noServerResources)
    #expect(file.served.code(file.lock(.shared, 50...59, by: 1, in: bobs), as: bob) == .ok)
    _ = try file.served.ask(ReleaseInstance(others[0]))
    #expect(file.code(file.lock(.shared, by: 1, in: others[16])) == .ok)
  }

  @Test("waiting requests are served at the unlock, in the order of arrival")
  func waiting() throws {
    let file = try Locked()
    #expect(file.code(file.lock(.exclusive, by: 1)) == .ok)
    let second = file.begin(file.lock(.exclusive, by: 2, .waiting))
    let third = file.begin(file.lock(.shared, by: 3, .waiting))
    #expect(file.reply(to: second) == nil && file.reply(to: third) == nil)
    #expect(file.code(file.lock(.none, by: 1)) == .ok)
    #expect(file.reply(to: second) == .ok && file.reply(to: third) == nil)
    #expect(file.code(file.lock(.shared, by: 2)) == .ok, "less than it had")
    #expect(file.reply(to: third) == .ok)
  }

  @Test("a wait that is ended leaves neither lock nor waiter")
  func cancelling() throws {
    let file = try Locked()
    let other = try file.served.open("f", [.read, .write])
    #expect(file.code(file.lock(.exclusive, by: 1)) == .ok)
    let waiter = file.begin(file.lock(.exclusive, by: 2, .waiting, in: other))
    let stranger = Principal(user: "ann", host: "moa")
    #expect(file.served.code(CancelWait(waiter), as: stranger) == .notFound)
    #expect(file.served.code(CancelWait(waiter)) == .ok)
    #expect(file.served.code(CancelWait(waiter)) == .notFound)
    #expect(file.reply(to: waiter) == .interrupted)
    let again = file.begin(file.lock(.exclusive, by: 2, .waiting, in: other))
    _ = try file.served.ask(ReleaseInstance(other))
    #expect(file.reply(to: again) == .invalidFileID)
    #expect(file.code(file.lock(.none, by: 1)) == .ok)
    #expect(file.code(file.lock(.exclusive, by: 3)) == .ok)
  }

  @Test("a deadlock is reported, also one of three")
  func deadlock() throws {
    let file = try Locked()
    for owner in 1...3 as ClosedRange<UInt64> {
      #expect(file.code(file.lock(.exclusive, owner...owner, by: owner)) == .ok)
    }
    let first = file.begin(file.lock(.shared, 2...2, by: 1, .waiting))
    let second = file.begin(file.lock(.shared, 3...3, by: 2, .waiting))
    #expect(file.code(file.lock(.exclusive, 1...1, by: 3, .waiting)) == .deadlock)
    #expect(file.reply(to: first) == nil && file.reply(to: second) == nil)
    #expect(file.code(file.lock(.none, 3...3, by: 3)) == .ok)
    #expect(file.reply(to: second) == .ok && file.reply(to: first) == nil)
  }

  @Test("a flock that cannot change its kind is given up, as on Linux")
  func conversion() throws {
    let file = try Locked()
    let all: ClosedRange<UInt64> = 0 ... .max
    #expect(file.code(file.lock(.shared, all, by: 1, isWhole: true)) == .ok)
    #expect(file.code(file.lock(.shared, all, by: 2, isWhole: true)) == .ok)
    #expect(file.code(file.lock(.exclusive, all, by: 1, isWhole: true)) == .wouldBlock)
    #expect(file.code(file.lock(.exclusive, all, by: 2, isWhole: true)) == .ok)
  }

  @Test("a lost lock is reclaimed only if no conflicting one was given meanwhile")
  func reclaiming() throws {
    let file = try Locked()
    let grant = try file.served.ask(file.lock(.shared, by: 1)).grant
    #expect(file.code(file.lock(.none, by: 1)) == .ok)
    #expect(file.code(file.lock(.shared, by: 1, .reclaiming, grant: grant)) == .ok)
    #expect(file.code(file.lock(.none, by: 1)) == .ok)
    let other = try file.served.ask(file.lock(.shared, by: 2))
    #expect(file.code(file.lock(.none, by: 2)) == .ok)
    #expect(file.code(file.lock(.shared, by: 1, .reclaiming, grant: grant)) == .ok)
    #expect(file.code(file.lock(.none, by: 1)) == .ok)
    #expect(file.code(file.lock(.exclusive, by: 1, .reclaiming, grant: grant)) == .wouldBlock)
    #expect(other.grant > grant)
    _ = try file.served.ask(file.lock(.exclusive, 100...100, by: 2))
    #expect(file.code(file.lock(.shared, by: 1, .reclaiming, grant: grant)) == .wouldBlock)
  }

  @Test("no user can make another one's lost lock look broken", .enabled(if: Served.isRoot))
  func manyGrants() throws {
    var limits = FileLimits(descriptors: 20_000)
    limits.lockedObjects = 64
    let file = try Locked(limits: limits)
    let grant = try file.served.ask(file.lock(.exclusive, by: 1)).grant
    #expect(file.code(file.lock(.none, by: 1)) == .ok)
    let bob = Principal(user: "bob", host: "moa")
    for number in 0..<100 {
      let other = try file.served.open("g\(number)", [.read, .write, .create], as: bob)
      let lock = file.lock(.exclusive, by: 1, in: other)
      let last = try file.served.ask(lock, as: bob).grant
      #expect(file.served.code(file.lock(.none, by: 1, in: other), as: bob) == .ok)
      let again = file.lock(.exclusive, by: 1, .reclaiming, grant: last, in: other)
      #expect(file.served.code(again, as: bob) == .ok, "its own newest one")
      #expect(file.served.code(ReleaseInstance(other), as: bob) == .ok)
    }
    let again = file.lock(.exclusive, by: 1, .reclaiming, grant: grant)
    #expect(file.code(again) == .ok)
  }

  @Test("a lock on a range needs the right to read or write")
  func rights() throws {
    let file = try Locked()
    let reader = try file.served.open("f", .read)
    let writer = try file.served.open("f", .write)
    #expect(file.code(file.lock(.exclusive, by: 1, in: reader)) == .notWriteable)
    #expect(file.code(file.lock(.shared, by: 1, in: writer)) == .notReadable)
    #expect(file.code(file.lock(.exclusive, 0 ... .max, by: 1, isWhole: true, in: reader)) == .ok)
    #expect(
      file.served.code(
        file.lock(.shared, by: 1), as: Principal(user: "root", host: "moa")) == .noPermission)
  }
}

@Suite("Extended attributes", .enabled(if: Served.isRoot, "trusted attributes need root"))
struct ExtendedAttributeTests {
  private func change(
    _ served: Served, _ attribute: String, _ change: ChangeAttribute.Change,
    as who: Principal? = Served.local
  ) -> ReplyCode {
    served.code(
      ChangeAttribute(served.name("f"), attribute: Array(attribute.utf8), change), as: who)
  }

  @Test("are kept on the disk, under the rights of the caller")
  func attributes() throws {
    let served = try Served()
    try served.put("", at: "f")
    chmod(served.path + "/f", 0o644)
    #expect(change(served, "user.a", .set([1, 2, 3])) == .ok)
    #expect(change(served, "user.a", .create([])) == .duplicateName)
    #expect(change(served, "user.b", .replace([])) == .noAttribute)
    #expect(change(served, "trusted.t", .set([])) == .ok)
    let ann = Principal(user: "ann", host: "kea")
    #expect(change(served, "user.a", .remove, as: ann) == .noPermission)
    #expect(change(served, "trusted.t", .set([]), as: ann) == .notOwner)
    let value = try served.ask(
      QueryAttribute(served.name("f"), attribute: Array("user.a".utf8)))
    #expect(value.data == [1, 2, 3])
    func names(_ who: Principal?) throws -> Set<String> {
      let list = try served.ask(ListAttributes(served.name("f")), as: who).data
      return Set(list.split(separator: 0).map { String(decoding: $0, as: UTF8.self) })
    }
    #expect(try names(Served.local) == ["user.a", "trusted.t"])
    #expect(try names(ann) == ["user.a"])
  }

  @Test("are not kept if they would mean something else on another host")
  func refused() throws {
    let served = try Served()
    try served.put("", at: "f")
    for name in ["system.posix_acl_access", "security.capability", "user", ""] {
      #expect(change(served, name, .set([1])) == .notSupported)
    }
    #expect(change(served, "user." + String(repeating: "x", count: 300), .set([])) == .notSupported)
  }
}
