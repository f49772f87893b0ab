import Foundation

/// The project's files, found from where this file was compiled.
struct Tree {
  let root: URL

  init(file: String = #filePath) {
    root = URL(fileURLWithPath: file)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  }

  /// Files that the version control ignores.
  static func isIgnored(_ name: String) -> Bool {
    name == ".git" || name == ".build" || name.hasPrefix(".build-") || name == "Package.resolved"
      || name.hasSuffix(".o")
  }

  func names(in folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: root.appending(path: folder).path).sorted()
  }

  /// All folders and all files that are not ignored, by their path from the root.
  func walk() throws -> (folders: [String], files: [String]) {
    var folders: [String] = []
    var files: [String] = []
    var pending = [""]
    while let folder = pending.popLast() {
      for name in try names(in: folder) where !Self.isIgnored(name) {
        let path = folder.isEmpty ? name : folder + "/" + name
        let attributes = try FileManager.default.attributesOfItem(
          atPath: root.appending(path: path).path
        )
        switch attributes[.type] as? FileAttributeType {
        case .typeDirectory?:
          folders.append(path)
          pending.append(path)
        case .typeRegular?: files.append(path)
        default: break
        }
      }
    }
    return (folders, files.sorted())
  }

  /// The file's text, or nil if it is not text: a zero byte tells.
  func text(_ path: String) throws -> String? {
    let data = try Data(contentsOf: root.appending(path: path))
    return data.contains(0) ? nil : String(decoding: data, as: UTF8.self)
  }

  /// Applies a rule to every text file that the filter picks, and says how many there were.
  func findings(
    where isPicked: (String) -> Bool,
    _ rule: (String, String) -> [Finding]
  ) throws -> (findings: [Finding], fileCount: Int) {
    var findings: [Finding] = []
    var count = 0
    for path in try walk().files where isPicked(path) {
      guard let text = try text(path) else { continue }
      count += 1
      findings += rule(path, text)
    }
    return (findings, count)
  }
}
