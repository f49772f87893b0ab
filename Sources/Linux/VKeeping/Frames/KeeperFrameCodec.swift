package import VProtocol
import VStore

/// The octets of a frame, big-endian: an octet of version, one of kind, then the kind's fields in
/// the order of its case.
///
/// A text or a list of octets follows its length of 32 bits; an optional part follows an octet that
/// tells whether it is there. Parsing accepts exactly what `octets` gives.
extension KeeperFrame {
  /// Changes whenever the meaning of a frame does: a successor may be a newer program.
  static let version: UInt8 = 4

  private enum Kind: UInt8 {
    case start = 1
    case read, cancel, write, endInput, control, hangUp, forget, noteGroups, look
    case program = 128
    case refused, output, taken, controlled, changed, emptied, looked
  }

  /// Stands for the kind of a packet that is a piece of a frame.
  static let pieceKind: UInt8 = 64

  /// Reads one whole frame.
  package init(parsing octets: [UInt8]) throws(WireError) {
    guard octets.count <= Self.byteCountMax else { throw .badLength }
    var reader = SegmentReader(octets)
    let version = try reader.integer(UInt8.self)
    guard version == Self.version else { throw .badVersion(version) }
    guard let kind = Kind(rawValue: try reader.integer()) else { throw .badField(.operation) }
    switch kind {
    case .start, .read, .cancel, .write, .endInput, .control, .hangUp, .forget, .noteGroups, .look:
      self = try Self.question(kind, &reader)
    case .program, .refused, .output, .taken, .controlled, .changed, .emptied, .looked:
      self = try Self.answer(kind, &reader)
    }
    guard reader.remaining == 0 else { throw .badLength }
  }

  private static func question(
    _ kind: Kind, _ reader: inout SegmentReader
  ) throws(WireError) -> KeeperFrame {
    switch kind {
    case .start: return .start(try KeeperOrder(&reader))
    case .read:
      let token = try reader.integer(UInt32.self)
      guard let stream = OutputStream(rawValue: try reader.integer()) else {
        throw .badField(.operation)
      }
      return .read(
        token: token, stream, position: try reader.integer(), count: try reader.integer())
    case .cancel: return .cancel(token: try reader.integer())
    case .write:
      let token = try reader.integer(UInt32.self)
      let position: UInt64? = try reader.flag() ? try reader.integer() : nil
      return .write(token: token, position: position, try reader.data())
    case .endInput: return .endInput
    case .control:
      return .control(
        token: try reader.integer(), try ProgramCommand(&reader), asUser: try reader.flag())
    case .hangUp: return .hangUp
    case .noteGroups: return .noteGroups(try reader.list().map { Name($0) })
    case .look:
      return .look(
        token: try reader.integer(), try ProgramPlace(&reader), waits: try reader.flag())
    default: return .forget
    }
  }

  private static func answer(
    _ kind: Kind, _ reader: inout SegmentReader
  ) throws(WireError) -> KeeperFrame {
    switch kind {
    case .program: return .program(try KeptStatus(&reader))
    case .refused: return .refused(try Refusal(&reader))
    case .output: return .output(token: try reader.integer(), try StreamRead(&reader))
    case .taken:
      return .taken(
        token: try reader.integer(), ReplyCode(rawValue: try reader.integer(UInt32.self)))
    case .looked:
      let token = try reader.integer(UInt32.self)
      guard let look = ProgramLook(rawValue: try reader.integer()) else {
        throw .badField(.operation)
      }
      return .looked(token: token, look)
    case .controlled:
      let token = try reader.integer(UInt32.self)
      guard try reader.flag() else { return .controlled(token: token, nil) }
      return .controlled(token: token, try Refusal(&reader))
    case .changed:
      return .changed(
        try ProgramState(&reader), at: try reader.integer(),
        processorMilliseconds: try reader.integer())
    default: return .emptied(processorMilliseconds: try reader.integer())
    }
  }

  /// What parsing reads.
  package var octets: [UInt8] {
    var writer = SegmentWriter(reserving: 64)
    writer.integer(Self.version)
    switch self {
    case .start(let order):
      writer.kind(Kind.start)
      order.emit(&writer)
    case .read(let token, let stream, let position, let count):
      writer.kind(Kind.read)
      writer.integer(token)
      writer.integer(stream.rawValue)
      writer.integer(position)
      writer.integer(count)
    case .cancel(let token):
      writer.kind(Kind.cancel)
      writer.integer(token)
    case .write(let token, let position, let data):
      writer.kind(Kind.write)
      writer.integer(token)
      writer.flag(position != nil)
      if let position { writer.integer(position) }
      writer.data(data)
    case .endInput: writer.kind(Kind.endInput)
    case .control(let token, let command, let asUser):
      writer.kind(Kind.control)
      writer.integer(token)
      command.emit(&writer)
      writer.flag(asUser)
    case .hangUp: writer.kind(Kind.hangUp)
    case .forget: writer.kind(Kind.forget)
    case .noteGroups(let groups):
      writer.kind(Kind.noteGroups)
      writer.list(groups.map { Array($0.octets) })
    case .look(let token, let place, let waits):
      writer.kind(Kind.look)
      writer.integer(token)
      place.emit(&writer)
      writer.flag(waits)
    case .program, .refused, .output, .taken, .controlled, .changed, .emptied, .looked:
      emitAnswer(&writer)
    }
    return writer.bytes
  }

  private func emitAnswer(_ writer: inout SegmentWriter) {
    switch self {
    case .program(let status):
      writer.kind(Kind.program)
      status.emit(&writer)
    case .refused(let refusal):
      writer.kind(Kind.refused)
      refusal.emit(&writer)
    case .output(let token, let read):
      writer.kind(Kind.output)
      writer.integer(token)
      read.emit(&writer)
    case .taken(let token, let code):
      writer.kind(Kind.taken)
      writer.integer(token)
      writer.integer(code.rawValue)
    case .looked(let token, let look):
      writer.kind(Kind.looked)
      writer.integer(token)
      writer.integer(look.rawValue)
    case .controlled(let token, let refusal):
      writer.kind(Kind.controlled)
      writer.integer(token)
      writer.flag(refusal != nil)
      refusal?.emit(&writer)
    case .changed(let state, let time, let processor):
      writer.kind(Kind.changed)
      state.emit(&writer)
      writer.integer(time)
      writer.integer(processor)
    case .emptied(let processor):
      writer.kind(Kind.emptied)
      writer.integer(processor)
    default: break
    }
  }
}

extension SegmentWriter {
  fileprivate mutating func kind(_ kind: some RawRepresentable<UInt8>) { integer(kind.rawValue) }
}
