import CVLinux
import Glibc
import VProtocol
import VRuntime
public import VStore

/// Looks into processes for others: Linux itself says whether they may.
///
/// A file of a process is opened with the ids of whoever wants to look and with no capability, so
/// the rules of ptrace(2) are those of this host, whatever they are: a set-user program and one
/// that hides its memory are closed even to the user who started them.
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

  /// A descriptor of a file of a process, or a negative error number; nil stands for this process's
  /// own rights.
  func open(_ file: String, ofProcess pid: Int32, as who: Credentials?) -> Int32 {
    let path = "/proc/\(pid)/\(file)"
    // Linux lets every thread look into its own process.
    if who != nil, unsafe access("/proc/self/task/\(pid)", F_OK) == 0 { return -EACCES }
    guard let who, own.isRoot || who.uid != own.uid else {
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
    look(file.isPublic ? .fullRoot : onlooker, completion) { [looks] who in
      let descriptor = looks.open(file.rawValue, ofProcess: pid, as: who)
      let (octets, error) = ProcessFiles.read(descriptor, count: ProcessFile.octetsMax)
      return error == 0 ? .success(octets) : .failure(.process(pid, error))
    }
  }

  public func readMemory(
    ofProcess pid: Int32, at position: UInt64, count: Int, as onlooker: Onlooker,
    completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void
  ) {
    look(onlooker, isAtMemory: true, completion) { [looks] who in
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
            ? MachineRefusal(.outOfRange, "nothing is mapped there")
            : .process(pid, Int32(result)))
      }
      return .success(octets)
    }
  }

  /// Has `body` look, with the ids of the onlooker, on a thread that may wait.
  private func look(
    _ onlooker: Onlooker, isAtMemory: Bool = false,
    _ completion: @escaping @Sendable (Outcome<[UInt8]>) -> Void,
    _ body: @escaping @Sendable (Credentials?) -> Outcome<[UInt8]>
  ) {
    let run: @Sendable (String, Credentials?) -> Void = { [backplane, memoryReaders] user, who in
      let work: @Sendable () -> Void = { completion(body(who)) }
      guard isAtMemory else { return backplane.disk(work) }
      if !memoryReaders.add(for: user, work) {
        completion(.failure(MachineRefusal(.busy, "too many reads of memory are under way")))
      }
    }
    switch onlooker {
    case .fullRoot: run("root", nil)
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

  /// What the host knows of a user; `notFound` where there is none.
  func account(
    of name: String, completion: @escaping @Sendable (Outcome<UserAccount>) -> Void
  ) {
    users.prepare([.user(name)], on: backplane) { [users] in
      do throws(StoreFailure) {
        guard let account = try users.account(ofUser: name, .atOnce) else {
          return completion(.failure(MachineRefusal(.notFound, "no such user: \(name)")))
        }
        completion(.success(account))
      } catch {
        var code = ReplyCode.noServerResources
        if case .refused(let said) = error { code = said }
        completion(
          .failure(MachineRefusal(code, "the table of users does not tell who \(name) is")))
      }
    }
  }

  public func hasUser(_ name: String, completion: @escaping @Sendable (Outcome<Bool>) -> Void) {
    account(of: name) { outcome in
      switch outcome {
      // Root's rights are given by a rule for root, and not by a table of users.
      case .success(let account):
        let uid = account.credentials.uid
        completion(.success((uid != 0 || name == "root") && uid != Credentials.nobody.uid))
      case .failure(let refusal) where refusal.code == .notFound: completion(.success(false))
      case .failure(let refusal): completion(.failure(refusal))
      }
    }
  }
}
