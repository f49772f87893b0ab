/// A declaration with a body: function, initializer, deinitializer, subscript, computed property.
struct FunctionExtent: Equatable {
  var name: String
  var firstLine: Int
  var lastLine: Int
  var lineCount: Int { lastLine - firstLine + 1 }
}

extension SwiftSource {
  /// Every declaration with a body, in the order of its first line; lines count from 1.
  var functions: [FunctionExtent] {
    let tokens = self.tokens
    return tokens.indices.compactMap { start in
      guard isDeclaration(tokens, at: start), let open = bodyStart(tokens, from: start) else {
        return nil
      }
      var depth = 0
      for token in tokens[open...] {
        if token.text == "{" { depth += 1 }
        if token.text == "}" { depth -= 1 }
        if depth == 0 {
          let keyword = tokens[start].text
          let hasName = keyword == "func" || keyword == "var"
          return FunctionExtent(
            name: hasName ? tokens[start + 1].text : keyword,
            firstLine: tokens[start].line,
            lastLine: token.line
          )
        }
      }
      return nil
    }
  }

  private struct Token {
    var text: String
    var line: Int
  }

  /// Words whole, every other visible character alone.
  private var tokens: [Token] {
    var tokens: [Token] = []
    for (index, line) in code.enumerated() {
      var word = ""
      for character in line + " " {
        if character.isLetter || character.isNumber || character == "_" {
          word.append(character)
          continue
        }
        if !word.isEmpty { tokens.append(Token(text: word, line: index + 1)) }
        word = ""
        if !character.isWhitespace {
          tokens.append(Token(text: String(character), line: index + 1))
        }
      }
    }
    return tokens
  }

  private func isDeclaration(_ tokens: [Token], at index: Int) -> Bool {
    let previous = index > 0 ? tokens[index - 1].text : ""
    switch tokens[index].text {
    case "func", "deinit", "var": return previous != "." && previous != "`"
    case "init", "subscript": return previous != "." && previous != "`" && previous != ":"
    default: return false
    }
  }

  /// The brace that opens the body, or nil where there is none: a protocol's requirement, a stored
  /// property.
  private func bodyStart(_ tokens: [Token], from start: Int) -> Int? {
    let isVariable = tokens[start].text == "var"
    var depth = 0
    for index in tokens.indices[(start + 1)...] {
      let token = tokens[index]
      if depth == 0 {
        if token.text == "{" { return index }
        if token.text == "}" { return nil }
        let startsLine = token.line > tokens[index - 1].line
        if isVariable && (token.text == "=" || startsLine) { return nil }
        if startsLine && (Self.declarationWords.contains(token.text) || token.text == "@") {
          return nil
        }
      }
      if token.text == "(" || token.text == "[" { depth += 1 }
      if token.text == ")" || token.text == "]" { depth -= 1 }
      if depth < 0 { return nil }
    }
    return nil
  }

  private static let declarationWords: Set = [
    "func", "init", "deinit", "subscript", "var", "let", "case", "struct", "class", "enum",
    "protocol", "extension", "actor", "typealias", "associatedtype", "import", "static", "mutating",
    "nonmutating", "consuming", "borrowing", "public", "package", "internal", "fileprivate",
    "private", "override", "final", "isolated", "nonisolated", "indirect", "convenience",
    "required",
  ]
}
