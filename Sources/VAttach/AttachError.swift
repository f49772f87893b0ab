/// Why a process could not attach to its node, in one sentence.
public struct AttachError: Error, Equatable, Sendable, CustomStringConvertible {
  public var description: String
}
