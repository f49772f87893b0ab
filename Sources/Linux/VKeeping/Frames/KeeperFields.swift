import VProtocol
import VStore

/// The parts of frames.
extension SegmentReader {
  mutating func flag() throws(WireError) -> Bool {
    let octet = try integer(UInt8.self)
    guard octet <= 1 else { throw .badField(.operation) }
    return octet == 1
  }

  mutating func data() throws(WireError) -> [UInt8] {
    let count = try integer(UInt32.self)
    return try octets(Int(count))
  }

  mutating func list() throws(WireError) -> [[UInt8]] {
    let count = try integer(UInt32.self)
    // Each needs at least a length.
    guard Int(count) <= remaining / 4 else { throw .badLength }
    var parts: [[UInt8]] = []
    for _ in 0..<count { parts.append(try data()) }
    return parts
  }
}

extension SegmentWriter {
  mutating func flag(_ value: Bool) { integer(UInt8(value ? 1 : 0)) }

  mutating func data(_ octets: [UInt8]) {
    integer(UInt32(octets.count))
    self.octets(octets)
  }

  mutating func list(_ parts: [[UInt8]]) {
    integer(UInt32(parts.count))
    for part in parts { data(part) }
  }
}

extension ProgramOrder {
  init(_ reader: inout SegmentReader) throws(WireError) {
    self.init(
      name: try reader.text(), arguments: try reader.list(), environment: try reader.list(),
      directory: try reader.data(), user: try reader.text(), starter: try reader.text(),
      isStarterFullRoot: try reader.flag(), programClass: try ProgramClass(&reader),
      terminal: try TerminalSize.optional(&reader), umask: try reader.integer(),
      isAttached: try reader.flag(), waitSeconds: try reader.integer())
  }

  func emit(_ writer: inout SegmentWriter) {
    writer.text(name)
    writer.list(arguments)
    writer.list(environment)
    writer.data(directory)
    writer.text(user)
    writer.text(starter)
    writer.flag(isStarterFullRoot)
    programClass.emit(&writer)
    TerminalSize.emit(terminal, &writer)
    writer.integer(umask)
    writer.flag(isAttached)
    writer.integer(waitSeconds)
  }
}

extension KeeperOrder {
  init(_ reader: inout SegmentReader) throws(WireError) {
    let program = try ProgramOrder(&reader)
    let uid = try reader.integer(UInt32.self)
    let gid = try reader.integer(UInt32.self)
    let groupCount = try reader.integer(UInt16.self)
    guard groupCount <= Self.groupsMax else { throw .badLength }
    var groups: [UInt32] = []
    for _ in 0..<groupCount { groups.append(try reader.integer()) }
    self.init(
      program: program, uid: uid, gid: gid, groups: groups, home: try reader.data(),
      resources: try HostResources(&reader), directory: try reader.text(),
      outlivesServer: try reader.flag())
  }

  func emit(_ writer: inout SegmentWriter) {
    program.emit(&writer)
    writer.integer(uid)
    writer.integer(gid)
    writer.integer(UInt16(groups.count))
    for group in groups { writer.integer(group) }
    writer.data(home)
    resources.emit(&writer)
    writer.text(directory)
    writer.flag(outlivesServer)
  }
}

extension HostResources {
  init(_ reader: inout SegmentReader) throws(WireError) {
    guard let mechanism = ClassMechanism(rawValue: try reader.text()) else {
      throw .badField(.name)
    }
    self.init(
      mechanism: mechanism, cgroup2: try reader.text(), cgroup1Processor: try reader.text(),
      groupPrefix: try reader.text())
  }

  func emit(_ writer: inout SegmentWriter) {
    writer.text(mechanism.rawValue)
    writer.text(cgroup2)
    writer.text(cgroup1Processor)
    writer.text(groupPrefix)
  }
}

extension KeptStatus {
  init(_ reader: inout SegmentReader) throws(WireError) {
    self.init(
      order: try ProgramOrder(&reader), pid: try reader.integer(), initPid: try reader.integer(),
      directory: try reader.data(), startedAt: try reader.integer(),
      endedAt: try reader.integer(), state: try ProgramState(&reader),
      isEmpty: try reader.flag(), terminal: try TerminalSize.optional(&reader),
      processorMilliseconds: try reader.integer(),
      groups: try reader.list().map { Name($0) })
  }

  func emit(_ writer: inout SegmentWriter) {
    order.emit(&writer)
    writer.integer(pid)
    writer.integer(initPid)
    writer.data(directory)
    writer.integer(startedAt)
    writer.integer(endedAt)
    state.emit(&writer)
    writer.flag(isEmpty)
    TerminalSize.emit(terminal, &writer)
    writer.integer(processorMilliseconds)
    writer.list(groups.map { Array($0.octets) })
  }
}

extension ProgramClass {
  init(_ reader: inout SegmentReader) throws(WireError) {
    guard let value = ProgramClass(rawValue: try reader.text()) else { throw .badField(.name) }
    self = value
  }

  func emit(_ writer: inout SegmentWriter) { writer.text(rawValue) }
}

extension TerminalSize {
  init(_ reader: inout SegmentReader) throws(WireError) {
    self.init(rows: try reader.integer(), columns: try reader.integer())
  }

  static func optional(_ reader: inout SegmentReader) throws(WireError) -> TerminalSize? {
    guard try reader.flag() else { return nil }
    return try TerminalSize(&reader)
  }

  func emit(_ writer: inout SegmentWriter) {
    writer.integer(rows)
    writer.integer(columns)
  }

  static func emit(_ size: TerminalSize?, _ writer: inout SegmentWriter) {
    writer.flag(size != nil)
    size?.emit(&writer)
  }
}

extension ProgramState {
  init(_ reader: inout SegmentReader) throws(WireError) {
    let kind = try reader.integer(UInt8.self)
    let value = try reader.integer(Int32.self)
    switch (kind, value) {
    case (1, 0): self = .running
    case (2, 0): self = .stopped
    case (3, 0): self = .suspended
    case (4, _): self = .exited(value)
    case (5, _): self = .killed(signal: value)
    default: throw .badField(.operation)
    }
  }

  func emit(_ writer: inout SegmentWriter) {
    let (kind, value): (UInt8, Int32) =
      switch self {
      case .running: (1, 0)
      case .stopped: (2, 0)
      case .suspended: (3, 0)
      case .exited(let status): (4, status)
      case .killed(let signal): (5, signal)
      }
    writer.integer(kind)
    writer.integer(value)
  }
}

extension ProgramCommand {
  init(_ reader: inout SegmentReader) throws(WireError) {
    switch try reader.integer(UInt8.self) {
    case 1: self = .suspend
    case 2: self = .resume
    case 3: self = .kill(signal: try reader.integer())
    case 4: self = .setClass(try ProgramClass(&reader))
    case 5: self = .setSize(try TerminalSize(&reader))
    default: throw .badField(.operation)
    }
  }

  func emit(_ writer: inout SegmentWriter) {
    switch self {
    case .suspend: writer.integer(UInt8(1))
    case .resume: writer.integer(UInt8(2))
    case .kill(let signal):
      writer.integer(UInt8(3))
      writer.integer(signal)
    case .setClass(let programClass):
      writer.integer(UInt8(4))
      programClass.emit(&writer)
    case .setSize(let size):
      writer.integer(UInt8(5))
      size.emit(&writer)
    }
  }
}

extension ProgramPlace {
  init(_ reader: inout SegmentReader) throws(WireError) {
    let kind = try reader.integer(UInt8.self)
    guard kind != 0 else {
      self = .input
      return
    }
    guard let stream = OutputStream(rawValue: kind) else { throw .badField(.operation) }
    self = .output(stream, from: try reader.integer())
  }

  func emit(_ writer: inout SegmentWriter) {
    switch self {
    case .input: writer.integer(UInt8(0))
    case .output(let stream, let position):
      writer.integer(stream.rawValue)
      writer.integer(position)
    }
  }
}

extension StreamRead {
  init(_ reader: inout SegmentReader) throws(WireError) {
    switch try reader.integer(UInt8.self) {
    case 1:
      let position = try reader.integer(UInt64.self)
      self = .octets(try reader.data(), position: position)
    case 2: self = .end
    case 3: self = .cancelled
    case 4: self = .lost
    default: throw .badField(.operation)
    }
  }

  func emit(_ writer: inout SegmentWriter) {
    switch self {
    case .octets(let octets, let position):
      writer.integer(UInt8(1))
      writer.integer(position)
      writer.data(octets)
    case .end: writer.integer(UInt8(2))
    case .cancelled: writer.integer(UInt8(3))
    case .lost: writer.integer(UInt8(4))
    }
  }
}

extension Refusal {
  init(_ reader: inout SegmentReader) throws(WireError) {
    self.init(ReplyCode(rawValue: try reader.integer()), try reader.text())
  }

  func emit(_ writer: inout SegmentWriter) {
    writer.integer(code.rawValue)
    writer.text(words)
  }
}
