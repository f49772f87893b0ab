import Foundation
import Testing

extension LabTests {
  @Suite("Ordinary tools", .tags(.mount, .slow))
  struct MatrixTests {
    @Test("do on both exports exactly what they do on a plain directory")
    func matrix() async throws {
      let lab = try await Lab.shared()
      expectSuccess(
        try await lab.run(
          on: "kea", ["bash", "/srv/storage/tools/prepare.sh", Matrix.inputs],
          limit: .seconds(120)))
      var matrix = Matrix(lab: lab)
      for user in ["root", "ann"] {
        for tool in user == "root" ? Matrix.tools : Matrix.toolsOfUsers {
          try await matrix.run(tool, as: user)
        }
      }
      print(matrix.table)
      for row in matrix.rows {
        for (side, cell) in row.cells {
          guard case .failed(let why) = cell else { continue }
          Issue.record("\(row.tool) as \(row.user), \(side.rawValue): \(why)")
        }
      }
      let blanks = matrix.rows.filter {
        $0.cells.count < Matrix.Side.all(for: $0.tool, as: $0.user).count
      }
      #expect(blanks.isEmpty, "not run everywhere: \(blanks.map(\.tool))")
      #expect(matrix.rows.count == Matrix.tools.count + Matrix.toolsOfUsers.count)
    }
  }
}

/// The results of running every tool in every place.
struct Matrix {
  static let tools = [
    "git-clone", "git-status", "git-gc", "make", "tar", "rsync", "sqlite3", "vim", "python", "exec",
    "mmap", "sha256", "cp", "sed", "mv", "copy", "many",
  ]
  static let toolsOfUsers = ["cp", "tar", "git-clone", "make", "sed"]
  static let toolsOnBadNetwork = ["make", "sqlite3", "cp", "sed"]
  static let inputs = "/srv/storage/inputs"

  /// A tool that takes longer hangs.
  ///
  /// One of them makes some 300,000 calls, where others make a few thousand, and each of its calls
  /// may take as long as theirs.
  static func limit(of tool: String) -> Duration { .seconds(tool == "many" ? 300 : 120) }
  /// If all hang, the run need not wait for each of them.
  static let totalLimit = Duration.seconds(900)

  /// Where kea runs a tool: on its own disk without V, or on an export of its own or of moa.
  enum Side: String, CaseIterable {
    case control = "plain directory"
    case local = "local export"
    case remote = "remote export"
    case lossy = "remote at 1 % loss"
    case bad = "remote, bad network"

    /// Where a tool is run; a bridge makes no faults.
    static func all(for tool: String, as user: String) -> [Side] {
      if Lab.isBridged { return [.control, .local, .remote] }
      let isHardy = user == "root" && Matrix.toolsOnBadNetwork.contains(tool)
      return allCases.filter { $0 != .bad || isHardy }
    }

    var host: String { self == .control || self == .local ? "kea" : "moa" }
    /// The faults of the packets to and from moa.
    var faults: [[String]] {
      switch self {
      case .control, .local, .remote: []
      case .lossy: [["loss", "1"]]
      case .bad: LabTests.BadNetworkTests.faults
      }
    }
    /// Where tools that need two places have the second.
    var otherHost: String { self == .local ? "moa" : "kea" }
    func path(on host: String) -> String {
      self == .control ? "/srv/storage" : "/v/storage/\(host)"
    }
  }

  enum Cell {
    case done(Double)
    case failed(String)

    var text: String {
      switch self {
      case .done(let seconds): String(format: "ok %.1f s", seconds)
      case .failed: "FAILED"
      }
    }
  }

  struct Row {
    var tool: String
    var user: String
    var cells: [Side: Cell] = [:]
  }

  /// All visible effects of a tool.
  struct Effect: Equatable {
    var output: [Substring]
    var files: [Substring]
    var filesElsewhere: [Substring]
  }

  let lab: Lab
  var rows: [Row] = []
  private let deadline = ContinuousClock.now + totalLimit

  init(lab: Lab) { self.lab = lab }

  /// Runs one tool in all places and compares.
  mutating func run(_ tool: String, as user: String) async throws {
    var row = Row(tool: tool, user: user)
    var control: Effect?
    for side in Side.all(for: tool, as: user) where ContinuousClock.now < deadline {
      for fault in side.faults { try await lab.command("fault", ["moa"] + fault) }
      let outcome = try await work(tool, as: user, on: side)
      if !side.faults.isEmpty { try await lab.command("fault", ["moa", "off"]) }
      guard outcome.isSuccess else {
        row.cells[side] = .failed("the tool failed: \(outcome.summary)")
        if side == .control { break }
        continue
      }
      let effect = try await effect(of: tool, as: user, on: side, output: outcome.output)
      if let control, let difference = Self.firstDifference(control, effect) {
        row.cells[side] = .failed("\(difference)\n\(outcome.summary)")
      } else {
        row.cells[side] = .done(outcome.seconds)
      }
      if side == .control { control = effect }
    }
    rows.append(row)
  }

  private func directories(_ tool: String, as user: String, on side: Side) -> [(String, String)] {
    let name = "\(side)-\(user)-\(tool)"
    return [(side.host, name), (side.otherHost, name + "-other")]
  }

  private func work(_ tool: String, as user: String, on side: Side) async throws -> Outcome {
    var places: [String] = []
    for (host, name) in directories(tool, as: user, on: side) {
      try await lab.command(
        "run",
        [host, "--", "install", "-d", "-o", user, "-g", user, "/srv/storage/\(name)"])
      places.append("\(side.path(on: host))/\(name)")
    }
    return try await lab.run(
      on: "kea", as: user,
      ["bash", "/srv/storage/tools/\(tool).sh", places[0], Self.inputs, places[1]],
      limit: Self.limit(of: tool))
  }

  /// The files, read by the server from its own disk, not through /v.
  private func effect(
    of tool: String, as user: String, on side: Side, output: String
  ) async throws -> Effect {
    var lists: [[Substring]] = []
    for (host, name) in directories(tool, as: user, on: side) {
      let list = try await lab.command(
        "run",
        [
          host, "--", "python3", "/srv/storage/tools/list.py", "/srv/storage/\(name)",
          "/srv/storage/tools/\(tool).sh",
        ])
      lists.append(list.output.split(separator: "\n"))
    }
    return Effect(
      output: output.split(separator: "\n", omittingEmptySubsequences: false),
      files: lists[0], filesElsewhere: lists[1])
  }

  static func firstDifference(_ expected: Effect, _ found: Effect) -> String? {
    let kinds: [(String, KeyPath<Effect, [Substring]>)] = [
      ("what it printed", \.output), ("a file", \.files), ("a file elsewhere", \.filesElsewhere),
    ]
    for (what, lines) in kinds where expected[keyPath: lines] != found[keyPath: lines] {
      let (old, new) = (expected[keyPath: lines], found[keyPath: lines])
      let place = zip(old, new).prefix { $0 == $1 }.count
      let count = Set(old).symmetricDifference(new).count
      return """
        \(what) differs (the first of \(count) such lines):
          expected \(place < old.count ? old[place] : "nothing")
          found    \(place < new.count ? new[place] : "nothing")
        """
    }
    return nil
  }

  var table: String {
    let sides = [Side.local, .remote, .lossy, .bad, .control]
    let heads = [["tool", "user"] + sides.map(\.rawValue)]
    let lines = rows.map { row in
      [row.tool, row.user] + sides.map { row.cells[$0]?.text ?? "-" }
    }
    return (heads + lines).map { line in
      zip(line, [12, 6, 14, 15, 20, 21, 16]).map { text, width in
        text + String(repeating: " ", count: max(1, width - text.count))
      }.joined().trimmingCharacters(in: .whitespaces)
    }.joined(separator: "\n")
  }
}
