import CVLinux
import Glibc
import VKeeping
import VProtocol
import VRuntime
public import VStore

/// Reads files of processes for users: Linux itself checks whether they may.
///
/// A file of a process is opened with the ids of the onlooker and without capabilities, so this
/// host's own rules of ptrace(2) hold: a set-user program and one that hides its memory are closed
/// even to the user who started them.
///
/// So is a program that the user may run and not read. Linux closes it by itself only if it knows
/// who may read the program file, which it does not for files below a node's mount.
struct ProcessLooks: Sendable {
  private let own: Credentials

  init() {
    var groups = [UInt32](repeating: 0, count: Self.groupsMax)
    let count = unsafe v_groups(&groups, Int32(Self.groupsMax))
    own = Credentials(
      uid: geteuid(), gid: getegid(), groups: Array(groups.prefix(max(0, Int(count)))))
  }

  /// Linux's NGROUPS_MAX.
  private static let groupsMax = 65_536

  /// A descriptor of a file of a process, or a negative error number; nil means this process's own
  /// rights.
  ///
  /// It may wait for the server of the file that the process runs.
  func open(_ file: String, ofProcess pid: Int32, as who: Credentials?) -> Int32 {
    let path = "/proc/\(pid)/\(file)"
    guard let who else { return unsafe v_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC) }
    // Linux lets every thread read its own process.
    if unsafe access("/proc/self/task/\(pid)", F_OK) == 0 { return -EACCES }
    let exe = "/proc/\(pid)/exe"
    let program = open(exe, as: who)
    guard program >= 0 else { return program }
    defer { close(program) }
    let opened = open(path, as: who)
    guard opened >= 0 else { return opened }
    // The opened file is about the program that ran at that time; the process may have run another
    // one before.
    var (asked, running) = (stat(), stat())
    guard unsafe fstat(program, &asked) == 0, unsafe stat(exe, &running) == 0,
      (asked.st_dev, asked.st_ino) == (running.st_dev, running.st_ino)
    else {
      close(opened)
      return -EACCES
    }
    return opened
  }

  private func open(_ path: String, as who: Credentials) -> Int32 {
    guard own.isRoot || who.uid != own.uid else {
      return unsafe v_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC)
    }
    guard own.isRoot else { return -EPERM }
    return unsafe v_open_as(
      path, who.uid, who.gid, who.groups, who.groups.count, own.uid, own.gid, own.groups,
      own.groups.count)
  }
}

extension LinuxPrograms {
  public func read(
    _ file: ProcessFile, ofProcess pid: Int32, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void
  ) {
    let body: @Sendable (Credentials?) -> Outcome<[UInt8]> = { [looks] who in
      let descriptor = looks.open(file.rawValue, ofProcess: pid, as: who)
      let (octets, error) = ProcessFiles.read(descriptor, count: ProcessFile.octetsMax)
      return error == 0 ? .success(octets) : .failure(.process(pid, error))
    }
    // The one file that Linux answers without the process's memory.
    if file == .status { return backplane.disk { completion(body(nil)) } }
    look(onlooker, isPublic: file.isPublic, completion, body)
  }

  public func readMemory(
    ofProcess pid: Int32, at position: UInt64, count: Int, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void
  ) {
    look(onlooker, completion) { [looks] who in
      let file = looks.open("mem", ofProcess: pid, as: who)
      guard file >= 0 else { return .failure(.process(pid, file)) }
      defer { close(file) }
      var result: Int64 = 0
      let room = min(max(0, count), ProcessFile.octetsMax)
      let octets = unsafe [UInt8](unsafeUninitializedCapacity: room) { buffer, filled in
        result = unsafe v_pread(
          file, buffer.baseAddress, room, Int64(bitPattern: position), 0)
        filled = max(0, Int(result))
      }
      // A process without memory, a zombie, gives none.
      guard result >= 0 else {
        return .failure(
          result == -Int64(EIO) || result == -Int64(EINVAL)
            ? Refusal(.outOfRange, "nothing is mapped there")
            : .process(pid, Int32(result)))
      }
      return .success(octets)
    }
  }

  /// Runs `body` with the ids of the onlooker, unless the file is public, on a thread that may
  /// hang: these files need a process's memory, or the owner of its program file.
  private func look(
    _ onlooker: Onlooker, isPublic: Bool = false,
    _ completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void,
    _ body: @escaping @Sendable (Credentials?) -> Outcome<[UInt8]>
  ) {
    let run: @Sendable (String, Credentials?) -> Void = { [memoryReaders, backplane] user, who in
      if !memoryReaders.add(for: user, { completion(body(who)) }) {
        completion(
          .failure(
            Refusal(.busy, "\(user) has too many looks into processes of \(backplane.host)")))
      }
    }
    switch onlooker {
    case .fullRoot: run("root", nil)
    case .user(let name) where isPublic: run(name, nil)
    case .user(let name):
      account(of: name) { outcome in
        switch outcome {
        case .failure(let refusal): completion(.failure(refusal))
        case .success(let account): run(name, account.credentials)
        }
      }
    }
  }

  // MARK: Users

  /// The host's data on a user; `notFound` if there is none.
  func account(
    of name: String, completion: @escaping @Sendable (Outcome<UserAccount>) -> Void
  ) {
    users.prepare([.user(name)], on: backplane) { [users] in
      do throws(StoreFailure) {
        guard let account = try users.account(ofUser: name, .atOnce) else {
          return completion(.failure(Refusal(.notFound, "no such user: \(name)")))
        }
        completion(.success(account))
      } catch {
        var code = ReplyCode.noServerResources
        if case .refused(let said) = error { code = said }
        completion(
          .failure(Refusal(code, "the table of users does not tell who \(name) is")))
      }
    }
  }

  public func hasUser(_ name: String, completion: @escaping @Sendable (Outcome<Bool>) -> Void) {
    account(of: name) { outcome in
      switch outcome {
      // Root's rights come from a rule for root, not from a table of users.
      case .success(let account):
        let uid = account.credentials.uid
        completion(.success((uid != 0 || name == "root") && uid != Credentials.nobody.uid))
      case .failure(let refusal) where refusal.code == .notFound: completion(.success(false))
      case .failure(let refusal): completion(.failure(refusal))
      }
    }
  }
}
