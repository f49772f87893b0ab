/// The size of a terminal in characters.
public struct TerminalSize: Hashable, Sendable {
  public var rows: UInt16
  public var columns: UInt16
  public init(rows: UInt16, columns: UInt16) {
    self.rows = rows
    self.columns = columns
  }

  /// `ROWS COLUMNS`, neither of them 0.
  public init?(_ text: some StringProtocol) {
    let numbers = text.split(separator: " ").map { UInt16($0) }
    guard numbers.count == 2, let rows = numbers[0], let columns = numbers[1], rows > 0,
      columns > 0
    else { return nil }
    self.init(rows: rows, columns: columns)
  }

  /// As in requests and commands.
  public var text: String { "\(rows) \(columns)" }
}
