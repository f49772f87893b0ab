import Synchronization
import VObjects
import VProtocol
import VRuntime
import VStore

/// The names below `team/<host>`.
///
/// ```
/// status ctl new
/// NUMBER.PROGRAM/    status cmdline environ pid ctl wait events in out err proc/ regions mem
/// NUMBER.PROCESS/    status cmdline pid
/// ```
extension Teams {
  var root: TreeContext {
    let fixed: [(name: Name, object: TreeObject)] = [
      ("status", .text(TreeText { [self] in statusText })),
      ("ctl", .text(TreeText(command: { [self] in $1(command($0)) }) { Self.commands })),
      ("new", .file(NewFile(teams: self))),
    ]
    var root = TreeContext(
      names: { [self] in fixed.map(\.name) + programs.all.map(\.name) + processes.names }
    ) { [self] name in
      if let object = fixed.first(where: { $0.name == name })?.object { return object }
      if let program = programs[name] { return .context(context(of: program)) }
      return processes[name].map { .context(context(ofProcess: $0)) }
    }
    root.prepare = { [self] name, _, done in
      let isNumbered = name?.octets.first.map { 0x30...0x39 ~= $0 } ?? true
      guard isNumbered, name.flatMap({ programs[$0] }) == nil else { return done(nil) }
      processes.prepare(isForListing: name == nil) { done(nil) }
    }
    return root
  }

  private var statusText: String {
    let load = loadThousandths
    let hundredths = "\(load / 10 % 100)"
    return "programs \(programs.all.count { !$0.isEnded })\n"
      + "load \(load / 1000).\(hundredths.utf8.count < 2 ? "0" : "")\(hundredths)\n"
      + "classes \(machine.classMechanism.rawValue)\nguests \(takesGuests ? "on" : "off")\n"
  }

  private static let commands = "guests on|off\n"

  private func command(_ line: TreeText.Line) -> Refusal? {
    switch line.text {
    case "guests on": takesGuests = true
    case "guests off": takesGuests = false
    default:
      let shown = ProgramRequest.text(line.text.utf8)
      return Refusal(.badArguments, "\"\(shown)\" is no command; cat ctl lists them")
    }
    return nil
  }

  // MARK: a program

  /// Octets of a file of a program's process; after its end `octets`, if there are some.
  private func load(
    _ file: ProcessFile, of program: Program, orElse octets: [UInt8]?, for caller: Caller,
    _ loaded: @escaping @Sendable (VStore.Outcome<[UInt8]>) -> Void
  ) {
    let isGone: VStore.Outcome<[UInt8]> = .failure(Refusal(.noProcess, "it has ended"))
    let last = octets.map { .success($0) } ?? isGone
    if program.isEnded { return loaded(last) }
    // A public file waits in the queue of the caller, and not in that of the program's user.
    let onlooker = file.isPublic ? .user(caller.user) : onlooker(caller, program)
    machine.read(file, ofProcess: program.hosted.pid, as: onlooker) { outcome in
      // It may have ended meanwhile.
      if case .failure(let refusal) = outcome, refusal.code == .noProcess {
        loaded(last)
      } else {
        loaded(outcome)
      }
    }
  }

  /// Texts from the start of a program, which it may change.
  private static func texts(_ program: Program) -> [Name: (file: ProcessFile, octets: [UInt8])] {
    let order = program.hosted.order
    return [
      "cmdline": (.cmdline, joined(order.arguments)),
      "environ": (.environ, joined(order.environment)),
    ]
  }

  /// How long finding out a file's size may take: its process may hang.
  private static let sizeLimit = TimeSpan.milliseconds(200)

  /// Finds out the size of `cmdline` or `environ` for a caller who looks up that name.
  private func prepareSize(
    of name: Name?, of program: Program, _ sizes: Prepared<[Name: UInt64]>, for caller: Caller,
    _ done: @escaping @Sendable () -> Void
  ) {
    guard let name, let text = Self.texts(program)[name],
      text.file.isPublic || program.isOf(caller) || caller.isRoot
    else { return done() }
    let isDone = Mutex(false)
    let finish: @Sendable () -> Void = {
      let isFirst = isDone.withLock { isDone in
        defer { isDone = true }
        return !isDone
      }
      if isFirst { done() }
    }
    if !program.isEnded { backplane.after(Self.sizeLimit, finish) }
    load(text.file, of: program, orElse: text.octets, for: caller) { outcome in
      if case .success(let octets) = outcome { sizes.value = [name: UInt64(octets.count)] }
      finish()
    }
  }

  private func context(of program: Program) -> TreeContext {
    let sizes = Prepared<[Name: UInt64]>([:])
    @Sendable func snapshot(
      _ permissions: UInt32, _ file: ProcessFile, orElse octets: [UInt8]?, size: UInt64 = 0
    ) -> TreeObject {
      .file(
        SnapshotFile(access: program.access(permissions), shares: shares, size: size) {
          [self] caller, loaded in
          load(file, of: program, orElse: octets, for: caller, loaded)
        })
    }
    @Sendable func started(_ name: Name, _ permissions: UInt32) -> TreeObject? {
      guard let text = Self.texts(program)[name] else { return nil }
      return snapshot(
        permissions, text.file, orElse: text.octets, size: sizes.value[name] ?? 0)
    }
    let fixed = fixedContext(of: program) { snapshot($0, $1, orElse: nil) }
    let names: [Name] = ["status", "cmdline", "environ"] + fixed.dropFirst().map(\.name)
    var context = TreeContext(names: { names }) { name in
      switch name {
      case "cmdline": started(name, 0o444)
      case "environ": started(name, 0o400)
      default: fixed.first { $0.name == name }?.object
      }
    }
    context.prepare = { [self] name, caller, done in
      prepareSize(of: name, of: program, sizes, for: caller) { done(nil) }
    }
    context.access = program.access(0o555)
    return context
  }

  private func fixedContext(
    of program: Program, _ snapshot: (UInt32, ProcessFile) -> TreeObject
  ) -> [(name: Name, object: TreeObject)] {
    [
      (
        "status",
        .text(
          TreeText(access: program.access(0o444), prepare: { program.refreshUsage($0) }) {
            program.statusText
          })
      ),
      ("pid", text(program.access(0o444), "\(program.hosted.pid)\n")),
      ("ctl", .text(controlText(program))),
      ("wait", .file(StateFile(program: program, programs: programs, isForEnd: true))),
      ("events", .file(StateFile(program: program, programs: programs, isForEnd: false))),
      ("in", .file(InputFile(program: program))),
      ("out", .file(OutputFile(program: program, programs: programs, stream: .out))),
      ("err", .file(OutputFile(program: program, programs: programs, stream: .err))),
      ("proc", .context(processes(of: program))),
      ("regions", snapshot(0o400, .maps)),
      ("mem", .file(MemoryFile(program: program, teams: self))),
    ]
  }

  private func controlText(_ program: Program) -> TreeText {
    TreeText(
      access: program.access(0o644),
      command: { [self] line, done in
        control(program, Array(line.text.utf8), by: line.caller, completion: done)
      }
    ) { ControlLine.help }
  }

  private static func joined(_ texts: [[UInt8]]) -> [UInt8] { texts.flatMap { $0 + [0] } }

  private func text(_ access: TreeAccess, _ text: String) -> TreeObject {
    .text(TreeText(access: access) { text })
  }

  /// The status of each process of a program.
  private func processes(of program: Program) -> TreeContext {
    let pids = Prepared<[Int32]>([])
    var context = TreeContext(names: { pids.value.map { Name("\($0)") } }) {
      [machine, shares] name in
      guard let pid = pids.value.first(where: { Name("\($0)") == name }) else { return nil }
      return .file(
        SnapshotFile(access: program.access(0o444), shares: shares) { caller, loaded in
          machine.read(.status, ofProcess: pid, as: .user(caller.user), completion: loaded)
        })
    }
    context.prepare = { _, _, done in
      program.hosted.processes { found in
        pids.value = found.sorted()
        done(nil)
      }
    }
    context.access = program.access(0o555)
    return context
  }

  // MARK: what else the host runs

  private func context(ofProcess pid: Int32) -> TreeContext {
    func file(_ file: ProcessFile) -> TreeObject {
      .file(
        SnapshotFile(access: TreeAccess(permissions: 0o444), shares: shares) {
          [machine] caller, loaded in
          machine.read(file, ofProcess: pid, as: .user(caller.user), completion: loaded)
        })
    }
    return TreeContext([
      ("status", file(.status)), ("cmdline", file(.cmdline)),
      ("pid", text(TreeAccess(permissions: 0o444), "\(pid)\n")),
    ])
  }
}

/// The result of a context's `prepare`.
private final class Prepared<Value: Sendable>: Sendable {
  private let stored: Mutex<Value>
  init(_ value: Value) { stored = Mutex(value) }
  var value: Value {
    get { stored.withLock { $0 } }
    set { stored.withLock { $0 = newValue } }
  }
}
