package import VStore

/// Who waits until there is something to read of a program, or room to write to it.
package struct Looks: Sendable {
  private var waiting: [(token: UInt32, place: ProgramPlace)] = []

  package init() {}

  /// False if so many wait that this one cannot.
  package mutating func add(token: UInt32, _ place: ProgramPlace) -> Bool {
    guard waiting.count < OutputLog.waitingMax else { return false }
    waiting.append((token, place))
    return true
  }

  package mutating func cancel(token: UInt32) { waiting.removeAll { $0.token == token } }

  /// Those who look are gone.
  package mutating func removeAll() { waiting = [] }

  /// One who need not wait any more, and what is there for it; nil when all others wait.
  package mutating func nextAnswer(
    _ look: (ProgramPlace) -> ProgramLook
  ) -> (token: UInt32, look: ProgramLook)? {
    for (index, (token, place)) in waiting.enumerated() {
      let found = look(place)
      guard found != .busy else { continue }
      waiting.remove(at: index)
      return (token, found)
    }
    return nil
  }
}
