package import VProtocol
package import VStore

/// A request that was written to `new`: a command, and in front of it how to run it.
///
/// ```
/// sort -u big.txt          a line, or several, for /bin/sh -c
/// sort NUL -u NUL          arguments, each of which ends with a NUL
///
/// dir: /v/storage/kea      header lines, an empty line, the command
/// env: LANG=C
///
/// sort -u big.txt
/// ```
package struct ProgramRequest: Equatable, Sendable {
  /// At least one.
  package var arguments: [[UInt8]]
  /// `NAME=VALUE` each.
  package var environment: [[UInt8]] = []
  /// The directory to start in; empty if the request has none.
  package var directory: [UInt8] = []
  package var programClass = ProgramClass.foreground
  package var isAttached = false
  package var waitSeconds = 0
  package var terminal: TerminalSize?
  package var umask = ProgramOrder.umaskDefault
  /// The group that it joins at its start.
  package var group: Name?
  /// The program's name in V.
  package var name: String

  /// The limit of a request with a length: more than Linux would accept.
  ///
  /// The limit of what one user may have the server keep is a share of its memory, and less.
  package static let octetsMax = 8 << 20
  /// The limit of a request without a length: that of one write.
  static let unsaidOctetsMax = Message.segmentBytesMax

  /// Words of the lines that may precede the command.
  enum Header: String, CaseIterable {
    case length, dir, env, `class`, attached, wait, terminal, umask, group
  }
}

// MARK: - Parsing

extension ProgramRequest {
  /// The length of a request by its first line, that line included, at most `octetsMax`; nil
  /// without such a line.
  package static func length(_ octets: [UInt8]) throws(Refusal) -> Int? {
    guard let (header, value) = header(octets.prefix { $0 != newline }), header == .length else {
      return nil
    }
    guard let length = number(value, in: 1...Int.max) else {
      throw mistake("length: a number of octets")
    }
    guard length <= octetsMax else { throw isTooLong }
    return length
  }

  /// Whether these octets are headers whose command has not come yet: shells write each line by
  /// itself.
  ///
  /// Wrong headers are refused as soon as they come.
  package static func isUnfinished(_ octets: [UInt8]) throws(Refusal) -> Bool {
    guard header(octets.prefix { $0 != newline }) != nil else { return false }
    var request = ProgramRequest(arguments: [], name: "")
    var rest = octets[...]
    while let end = rest.firstIndex(of: newline) {
      let line = rest[..<end]
      rest = rest[(end + 1)...]
      if line.isEmpty { return rest.isEmpty }
      try request.takeHeader(line)
    }
    return true
  }

  package init(parsing octets: [UInt8]) throws(Refusal) {
    self.init(arguments: [], name: "")
    guard octets.count <= Self.octetsMax else { throw Self.isTooLong }
    var rest = octets[...]
    if Self.header(rest.prefix { $0 != Self.newline }) != nil {
      try takeHeaders(&rest)
    }
    try takeCommand(rest)
  }

  /// Octets of memory that a request takes once it is parsed, at most: each argument and variable
  /// takes more than its octets.
  package static func footprint(_ octets: [UInt8]) -> Int {
    let parts = octets.count { $0 == 0 || $0 == newline }
    let added = shell.reduce(0) { $0 + $1.count }
    return octets.count + added + (parts + shell.count + 1) * ProgramOrder.partFootprint
  }

  private init(arguments: [[UInt8]], name: String) {
    self.arguments = arguments
    self.name = name
  }

  private mutating func takeHeaders(_ rest: inout ArraySlice<UInt8>) throws(Refusal) {
    while true {
      guard let end = rest.firstIndex(of: Self.newline) else {
        throw Self.mistake("no empty line between the headers and the command")
      }
      let line = rest[..<end]
      rest = rest[(end + 1)...]
      if line.isEmpty { return }
      try takeHeader(line)
    }
  }

  private mutating func takeHeader(_ line: ArraySlice<UInt8>) throws(Refusal) {
    guard let (header, value) = Self.header(line) else {
      let known = Header.allCases.map(\.rawValue).joined(separator: ", ")
      throw Self.mistake("\"\(Self.text(line))\" is no header; there are \(known)")
    }
    guard !value.contains(0) else { throw Self.mistake("\(header.rawValue): a NUL in a header") }
    try take(header, value)
  }

  private mutating func take(_ header: Header, _ value: ArraySlice<UInt8>) throws(Refusal) {
    let text = Self.text(value)
    switch header {
    case .length: _ = try Self.length(Array("length: ".utf8 + value))
    case .dir:
      guard value.first == Self.slash, value.count < RunRequest.pathBytesMax else {
        throw Self.mistake("dir: an absolute path of less than \(RunRequest.pathBytesMax) octets")
      }
      directory = Array(value)
    case .env: environment.append(try Self.variable(value))
    case .class:
      guard let programClass = ProgramClass(rawValue: text) else {
        throw Self.mistake("class: \"\(text)\" is none of \(ProgramClass.words)")
      }
      self.programClass = programClass
    case .attached:
      guard text == "yes" else { throw Self.mistake("attached: yes, or no such line") }
      isAttached = true
    case .wait:
      guard let seconds = Self.number(value, in: 0...RunRequest.waitSecondsMax) else {
        throw Self.mistake("wait: seconds, at most \(RunRequest.waitSecondsMax)")
      }
      waitSeconds = seconds
    case .terminal:
      guard let size = TerminalSize(text) else {
        throw Self.mistake("terminal: two numbers, of rows and of columns")
      }
      terminal = size
    case .umask:
      // UInt32 would take a sign, too.
      guard (1...4).contains(value.count), value.allSatisfy({ 0x30...0x37 ~= $0 }),
        let mask = UInt32(text, radix: 8), mask <= 0o777
      else { throw Self.mistake("umask: an octal number up to 777") }
      umask = mask
    case .group:
      guard Self.isGroupName(Name(value)) else {
        throw Self.mistake("group: a name without '/', of at most 255 octets")
      }
      group = Name(value)
    }
  }

  private mutating func takeCommand(_ rest: ArraySlice<UInt8>) throws(Refusal) {
    if rest.contains(0) {
      guard rest.last == 0 else { throw Self.mistake("the last argument does not end with a NUL") }
      arguments = rest.dropLast().split(separator: 0, omittingEmptySubsequences: false)
        .map { Array($0) }
      guard !arguments[0].isEmpty else { throw Self.mistake("the command is empty") }
      name = Self.name(ofPath: arguments[0])
      return
    }
    let command = rest.last == Self.newline ? rest.dropLast() : rest
    guard command.contains(where: { !Self.isBlank($0) }) else {
      throw Self.mistake("the command is empty")
    }
    arguments = Self.shell + [Array(command)]
    name = Self.name(ofPath: command.drop(while: Self.isBlank).prefix { !Self.isBlank($0) })
  }

  /// `NAME=VALUE`, where `\n` stands for a newline and `\\` for a backslash.
  private static func variable(_ line: ArraySlice<UInt8>) throws(Refusal) -> [UInt8] {
    guard let equals = line.firstIndex(of: UInt8(ascii: "=")), equals > line.startIndex else {
      throw mistake("env: NAME=VALUE")
    }
    var octets: [UInt8] = []
    var isEscaped = false
    for octet in line {
      if isEscaped {
        guard octet == backslash || octet == UInt8(ascii: "n") else { throw mistake(escapeWords) }
        octets.append(octet == backslash ? backslash : newline)
        isEscaped = false
      } else if octet == backslash {
        isEscaped = true
      } else {
        octets.append(octet)
      }
    }
    guard !isEscaped else { throw mistake(escapeWords) }
    return octets
  }

  /// The word and the value of a line `word: value`; nil if it is not a header.
  private static func header(_ line: some Collection<UInt8>) -> (Header, ArraySlice<UInt8>)? {
    let line = Array(line)
    guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon + 1 < line.count,
      line[colon + 1] == space,
      let header = Header(rawValue: String(decoding: line[..<colon], as: UTF8.self))
    else { return nil }
    return (header, line[(colon + 2)...])
  }

  private static func number(_ octets: ArraySlice<UInt8>, in range: ClosedRange<Int>) -> Int? {
    guard let number = UInt32(String(decoding: octets, as: UTF8.self)), range ~= Int(number) else {
      return nil
    }
    return Int(number)
  }

  static func isGroupName(_ name: Name) -> Bool {
    (1...Descriptor.nameBytesMax).contains(name.octets.count) && name != "." && name != ".."
      && !name.octets.contains { $0 == slash || $0 == 0 || $0 == newline }
  }

  private static func mistake(_ words: String) -> Refusal { Refusal(.badArguments, words) }

  private static var isTooLong: Refusal {
    mistake("arguments, environment and other lines have at most \(octetsMax) octets together")
  }

  /// Written octets, for people: cut to a short length, without control characters.
  static func text(_ octets: some Collection<UInt8>) -> String {
    let shown = octets.prefix(80).map { 0x20...0x7E ~= $0 ? $0 : UInt8(ascii: "?") }
    return String(decoding: shown, as: UTF8.self)
  }

  private static func isBlank(_ octet: UInt8) -> Bool {
    octet == space || octet == newline || octet == UInt8(ascii: "\t")
  }

  private static let escapeWords = "env: after a backslash comes n or a backslash"
  private static let shell = ["/bin/sh", "-c"].map { Array($0.utf8) }
  private static let newline = UInt8(ascii: "\n")
  private static let space = UInt8(ascii: " ")
  private static let slash = UInt8(ascii: "/")
  private static let backslash = UInt8(ascii: "\\")
}

// MARK: - Names

extension ProgramRequest {
  /// Octets of a program's name.
  static let nameBytesMax = 32

  /// The name of a program: the last component of its path, or of the first word of a line for the
  /// shell.
  static func name(ofPath path: some Collection<UInt8>) -> String {
    let last = Array(path).split(separator: slash).last ?? []
    return last.isEmpty ? "sh" : safe(last)
  }

  /// At most 32 characters that no shell treats as special.
  static func safe(_ name: some Collection<UInt8>) -> String {
    let octets = name.prefix(nameBytesMax).map { octet in
      switch octet {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "+"), UInt8(ascii: "-"):
        octet
      default: UInt8(ascii: "_")
      }
    }
    return String(decoding: octets, as: UTF8.self)
  }
}
