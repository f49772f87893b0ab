package import VProtocol
package import VStore

/// A line that was written to a program's `ctl`, or sent to it in a message.
package enum ControlLine: Hashable, Sendable {
  case program(ProgramCommand)
  case join(Name)
  case leave(Name)

  /// Reads one line, with or without its newline.
  package init(parsing octets: [UInt8]) throws(Refusal) {
    let line = octets.last == UInt8(ascii: "\n") ? octets.dropLast() : octets[...]
    guard !line.contains(UInt8(ascii: "\n")) else { throw Self.mistake("one command at a time") }
    guard let text = String(validating: line, as: UTF8.self) else {
      throw Self.mistake("\"\(ProgramRequest.text(line))\" is no text")
    }
    let words = text.split(separator: " ", maxSplits: 1).map(String.init)
    let value = words.count > 1 ? words[1] : nil
    switch (words.first, value) {
    case ("suspend", nil): self = .program(.suspend)
    case ("resume", nil): self = .program(.resume)
    case ("kill", let name):
      guard let signal = name.map({ Signal.number(of: $0) }) ?? Signal.terminate else {
        throw Self.mistake("kill: no signal \"\(ProgramRequest.text((name ?? "").utf8))\"")
      }
      self = .program(.kill(signal: signal))
    case ("class", let name?):
      guard let programClass = ProgramClass(rawValue: name) else {
        throw Self.mistake("class: one of \(ProgramClass.words)")
      }
      self = .program(.setClass(programClass))
    case ("size", let size?):
      guard let size = TerminalSize(size) else {
        throw Self.mistake("size: two numbers, of rows and of columns")
      }
      self = .program(.setSize(size))
    case ("join", let name?) where ProgramRequest.isGroupName(Name(name)):
      self = .join(Name(name))
    case ("leave", let name?) where ProgramRequest.isGroupName(Name(name)):
      self = .leave(Name(name))
    default:
      throw Self.mistake("\"\(ProgramRequest.text(line))\" is no command; cat ctl lists them")
    }
  }

  private static func mistake(_ words: String) -> Refusal { Refusal(.badArguments, words) }

  /// The text of `ctl`.
  package static let help = """
    suspend
    resume
    kill [SIGNAL]
    class foreground|background|guest
    size ROWS COLUMNS
    join GROUP
    leave GROUP

    """
}
