import Glibc
import TOMLKit

/// An error in a configuration: file, line, key and what is allowed.
struct ConfigurationError: Error, CustomStringConvertible {
  var description: String
}

/// Reads the keys of one table, and reports where the file is wrong.
struct TableReader {
  var path: String
  var text: String
  var table: TOMLTable
  /// The name and the number, from 0, of this `[[name]]` in the file; nil for the top.
  var name: (String, Int)?

  func allowOnly(_ keys: [String]) throws {
    for key in table.keys where !keys.contains(key) {
      throw ConfigurationError(
        description:
          "\(place(key)): unknown key '\(key)'; known are \(keys.joined(separator: ", "))")
    }
  }

  func string(_ key: String) throws -> String? {
    guard let value = table[key] else { return nil }
    guard let string = value.string else { throw error(key, "a string in quotes") }
    return string
  }

  func boolean(_ key: String) throws -> Bool? {
    guard let value = table[key] else { return nil }
    guard let boolean = value.bool else { throw error(key, "true or false") }
    return boolean
  }

  func integer(_ key: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let value = table[key] else { return nil }
    guard let number = value.int, range.contains(number) else {
      throw error(key, "a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return number
  }

  func strings(_ key: String) throws -> [String]? {
    guard let value = table[key] else { return nil }
    guard let array = value.array else { throw error(key, "a list of strings") }
    return try array.map { item in
      guard let string = item.string else { throw error(key, "a list of strings") }
      return string
    }
  }

  func tables(_ key: String) throws -> [TableReader]? {
    guard let value = table[key] else { return nil }
    guard let array = value.array else { throw error(key, "tables headed [[\(key)]]") }
    return try array.enumerated().map { index, item in
      guard let table = item.table else { throw error(key, "tables headed [[\(key)]]") }
      return TableReader(path: path, text: text, table: table, name: (key, index))
    }
  }

  /// A string for which `isGood` is true, or an error with what is allowed.
  func string(
    _ key: String, _ allowed: String, where isGood: (String) -> Bool
  ) throws -> String? {
    guard let string = try string(key) else { return nil }
    guard isGood(string) else { throw error(key, allowed) }
    return string
  }

  func error(_ key: String, _ allowed: String) -> ConfigurationError {
    ConfigurationError(description: "\(place(key)): '\(key)' must be \(allowed)")
  }

  func missing(_ key: String, _ allowed: String) -> ConfigurationError {
    ConfigurationError(
      description: "\(place(nil)): [[\(name?.0 ?? "")]] lacks '\(key)', \(allowed)")
  }

  /// `file:line` of a key of this table, or of the table's head.
  func place(_ key: String?) -> String {
    var number = 0
    var seen = -1
    var head = 1
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      number += 1
      let words = line.split { $0 == " " || $0 == "\t" }
      let isHead = line.hasPrefix("[")
      if isHead {
        if let name { seen += line.hasPrefix("[[\(name.0)]]") ? 1 : 0 }
        if seen == name?.1 { head = number }
      }
      let isInside = name == nil || seen == name?.1
      if isInside, let key, words.first.map({ $0 == key || $0.hasPrefix(key + "=") }) == true {
        return "\(path):\(number)"
      }
    }
    return "\(path):\(head)"
  }
}

/// The whole of a small text file.
func readTextFile(_ path: String) throws -> String {
  let bytes = try readFile(path)
  guard let text = String(validating: bytes, as: UTF8.self) else {
    throw ConfigurationError(description: "\(path): not UTF-8 text")
  }
  return text
}

/// The octets of a file of at most 1 MB.
func readFile(_ path: String) throws -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else {
    throw ConfigurationError(description: "\(path): \(String(cString: strerror(errno)))")
  }
  defer { close(descriptor) }
  return try readAll(descriptor, path)
}

/// What is left to read of an open file of at most 1 MB.
func readAll(_ descriptor: Int32, _ path: String) throws -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: 1 << 20)
  var count = 0
  while count < bytes.count {
    let got = bytes.withUnsafeMutableBytes {
      read(descriptor, $0.baseAddress! + count, $0.count - count)
    }
    guard got >= 0 else {
      throw ConfigurationError(description: "\(path): \(String(cString: strerror(errno)))")
    }
    if got == 0 { return Array(bytes[..<count]) }
    count += got
  }
  throw ConfigurationError(description: "\(path): larger than 1 MB")
}
