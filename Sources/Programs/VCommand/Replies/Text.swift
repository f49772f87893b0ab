/// Forms of text that several commands print.
package enum Text {
  /// The text without commands to a terminal: names and words of others may hold any characters.
  package static func harmless(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { scalar in
          switch scalar.value {
          case 0x09, 0x0A, 0x0D: scalar
          case 0..<0x20, 0x7F..<0xA0: "?"
          default: scalar
          }
        }))
  }

  /// Columns as wide as their widest entry; the first row is the heading.
  package static func table(_ rows: [[String]]) -> [String] {
    let rows = rows.map { $0.map(harmless) }
    let columns = rows[0].indices
    let widths = columns.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      columns.map { column in
        let isLast = column == columns.last
        let pad = isLast ? 0 : widths[column] - row[column].count
        return row[column] + String(repeating: " ", count: pad)
      }.joined(separator: "  ")
    }
  }

  /// Octets as people count disks: three digits, in powers of 1000.
  package static func bytes(_ count: UInt64) -> String {
    var value = Double(count)
    for unit in ["B", "kB", "MB", "GB"] {
      if value < 999.5 { return "\(decimal(value, value < 9.95 && unit != "B" ? 1 : 0)) \(unit)" }
      value /= 1000
    }
    return "\(decimal(value, value < 9.95 ? 1 : 0)) TB"
  }

  package static func duration(_ milliseconds: Int) -> String {
    switch milliseconds {
    case ..<1000: "\(milliseconds) ms"
    case ..<60_000: "\(milliseconds / 1000).\(milliseconds % 1000 / 100) s"
    case ..<3_600_000: "\(milliseconds / 60_000) min"
    case ..<172_800_000: "\(milliseconds / 3_600_000) h"
    default: "\(milliseconds / 86_400_000) days"
    }
  }

  /// A number with so many decimals.
  package static func decimal(_ value: Double, _ places: Int) -> String {
    guard value.isFinite else { return "-" }
    var factor = 1.0
    for _ in 0..<places { factor *= 10 }
    let scaled = Int((abs(value) * factor).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard places > 0 else { return "\(sign)\(scaled)" }
    let rest = "\(scaled % Int(factor))"
    return "\(sign)\(scaled / Int(factor))."
      + String(repeating: "0", count: places - rest.count) + rest
  }
}
