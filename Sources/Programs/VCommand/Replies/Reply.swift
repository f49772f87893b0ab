/// What a verb found out, for programs and for people.
package struct Reply {
  package var body: any Encodable
  package var text: String

  package init(_ body: some Encodable, text: String = "") {
    self.body = body
    self.text = text
  }
}

extension JSON {
  /// The object that a verb prints with `--json`: the number of the schema, then the members.
  package static func reply(_ body: some Encodable) -> JSON {
    JSON(ReplyObject(body: body, outcome: nil))
  }

  /// The same with `error` as its last member; null where the verb did what it was to do.
  static func outcome(_ body: (any Encodable)?, error: String?) -> JSON {
    JSON(ReplyObject(body: body, outcome: Outcome(error: error)))
  }
}

/// What a verb came to.
private struct Outcome: Encodable {
  var error: String?
}

private struct ReplyObject: Encodable {
  var body: (any Encodable)?
  var outcome: Outcome?

  /// Counts up when a member changes its meaning or goes.
  private static let schema = 1

  private enum CodingKeys: CodingKey {
    case schema
  }

  func encode(to encoder: any Encoder) throws {
    var members = encoder.container(keyedBy: CodingKeys.self)
    try members.encode(Self.schema, forKey: .schema)
    try body?.encode(to: encoder)
    try outcome?.encode(to: encoder)
  }
}

/// Members whose names are known only when the verb runs, in order.
package struct ReplyMembers: Encodable {
  private let members: [(name: String, value: any Encodable)]

  package init(_ members: [(name: String, value: any Encodable)]) { self.members = members }

  private struct Name: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  package func encode(to encoder: any Encoder) throws {
    var object = encoder.container(keyedBy: Name.self)
    for (name, value) in members {
      try object.encode(value, forKey: Name(stringValue: name))
    }
  }
}

extension Double {
  /// To so many decimals, as a reply has it.
  package func rounded(places: Int) -> Double {
    var factor = 1.0
    for _ in 0..<places { factor *= 10 }
    return (self * factor).rounded() / factor
  }
}
