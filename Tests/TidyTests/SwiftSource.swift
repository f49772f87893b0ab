/// One Swift file, with its comments and string literals told apart from its code.
///
/// It knows just enough of the language for the tidy rules: nested comments, plain, raw and
/// multi-line strings and their interpolations. Bare-slash regular expressions count as code.
struct SwiftSource {
  /// The file's lines, with every byte of a comment or a literal turned into a space.
  let code: [String]
  /// Whether a line has a comment or a part of one.
  let isCommented: [Bool]

  init(_ text: String) {
    var masker = Masker(text)
    masker.run()
    code = masker.masked.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
    let commented = masker.commentedLines
    isCommented = code.indices.map { commented.contains($0) }
  }
}

/// Copies code and blanks out everything else.
private struct Masker {
  let bytes: [UInt8]
  var position = 0
  var line = 0
  var masked: [UInt8] = []
  var commentedLines: Set<Int> = []

  init(_ text: String) {
    bytes = Array(text.utf8)
    masked.reserveCapacity(bytes.count)
  }

  mutating func run() {
    while position < bytes.count {
      if !skipCommentOrString() {
        if bytes[position] == UInt8(ascii: "\n") { line += 1 }
        masked.append(bytes[position])
        position += 1
      }
    }
  }

  /// Skips one whole comment or literal, if one starts here.
  mutating func skipCommentOrString() -> Bool {
    if isHere("//") {
      while position < bytes.count, bytes[position] != UInt8(ascii: "\n") { skipComment(1) }
      return true
    }
    if isHere("/*") {
      skipBlockComment()
      return true
    }
    var hashes = 0
    while isHere("#", at: hashes) { hashes += 1 }
    guard isHere("\"", at: hashes) else { return false }
    skipString(hashes: hashes)
    return true
  }

  mutating func skipBlockComment() {
    var depth = 0
    repeat {
      if isHere("/*") {
        depth += 1
        skipComment(2)
      } else if isHere("*/") {
        depth -= 1
        skipComment(2)
      } else {
        skipComment(1)
      }
    } while depth > 0 && position < bytes.count
  }

  mutating func skipString(hashes: Int) {
    let isMultiLine = isHere("\"\"\"", at: hashes)
    let quotes = isMultiLine ? "\"\"\"" : "\""
    let fence = String(repeating: "#", count: hashes)
    skip(hashes + quotes.utf8.count)
    while position < bytes.count {
      if isHere(quotes + fence) {
        skip(quotes.utf8.count + hashes)
        return
      } else if isHere("\\" + fence + "(") {
        skip(hashes + 2)
        skipInterpolation()
      } else if isHere("\\" + fence) {
        skip(hashes + 2)
      } else if !isMultiLine && isHere("\n") {
        return
      } else {
        skip(1)
      }
    }
  }

  mutating func skipInterpolation() {
    var depth = 1
    while depth > 0 && position < bytes.count {
      let start = masked.count
      if skipCommentOrString() {
        precondition(masked.count > start, "a literal has at least its quotes")
        continue
      }
      if isHere("(") { depth += 1 }
      if isHere(")") { depth -= 1 }
      skip(1)
    }
  }

  func isHere(_ text: String, at offset: Int = 0) -> Bool {
    bytes.dropFirst(position + offset).starts(with: text.utf8)
  }

  mutating func skipComment(_ count: Int) {
    commentedLines.insert(line)
    skip(count)
  }

  mutating func skip(_ count: Int) {
    for byte in bytes[position..<min(position + count, bytes.count)] {
      let isNewline = byte == UInt8(ascii: "\n")
      masked.append(isNewline ? byte : UInt8(ascii: " "))
      if isNewline { line += 1 }
    }
    position = min(position + count, bytes.count)
  }
}
