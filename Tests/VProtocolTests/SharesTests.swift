import Testing
import VProtocol

@Suite("Shares of a table")
struct SharesTests {
  private static let capacity = 64
  private static let root = Principal(user: "root", host: "kea", marks: .fullRoot)
  private static let contained = Principal(user: "root", host: "kea")
  private static let ann = Principal(user: "ann", host: "kea")

  private func shares() -> Shares { Shares(capacity: Self.capacity, ownHost: "kea") }

  /// How many places a principal gets, one by one.
  private func fill(_ shares: inout Shares, _ principal: Principal?) -> Int {
    var count = 0
    while shares.take(principal) { count += 1 }
    return count
  }

  @Test("one user gets a quarter, and then root and another user still get theirs")
  func oneUser() {
    var shares = shares()
    #expect(fill(&shares, Self.ann) == 16)
    #expect(fill(&shares, Principal(user: "bob", host: "kea")) == 16)
    #expect(fill(&shares, Self.root) == 32)
  }

  @Test("all users of all hosts together leave an eighth to root")
  func rootsPart() {
    var shares = shares()
    for number in 0..<100 { _ = fill(&shares, Principal(user: "user\(number)", host: "kea")) }
    for number in 0..<100 { _ = fill(&shares, Principal(user: "ann", host: "host\(number)")) }
    #expect(shares.count == 56)
    #expect(fill(&shares, Self.root) == 8)
  }

  @Test("other hosts together leave a half to the own host, and one host leaves room for others")
  func strangers() {
    var shares = shares()
    var first = 0
    for number in 0..<100 { first += fill(&shares, Principal(user: "user\(number)", host: "moa")) }
    #expect(first == 24)
    for number in 0..<100 { _ = fill(&shares, Principal(user: "ann", host: "host\(number)")) }
    #expect(shares.count == 32)
    #expect(fill(&shares, Self.ann) == 16)
  }

  @Test("numbers without a name have one share, and so have unknown principals")
  func numbers() {
    var shares = shares()
    var count = 0
    for number in 0..<100 { count += fill(&shares, Principal(user: "#\(number)", host: "kea")) }
    #expect(count == 16)
    #expect(fill(&shares, nil) == 16)
    #expect(fill(&shares, nil) == 0)
  }

  @Test("root of a container or of another host has a user's share")
  func lesserRoots() {
    var shares = shares()
    #expect(fill(&shares, Self.contained) == 16)
    let moa = Principal(user: "root", host: "moa", marks: .fullRoot)
    #expect(fill(&shares, moa) == 16)
  }

  @Test("root of the own host gets all that is left, and not more")
  func all() {
    var shares = shares()
    #expect(fill(&shares, Self.root) == 64)
    let isTaken = shares.take(Self.ann)
    #expect(!isTaken)
    shares.give(Self.root, 64)
    #expect(fill(&shares, Self.ann) == 16)
  }

  @Test("returned places can be used again, and a refusal takes none")
  func givenBack() {
    var shares = shares()
    for _ in 0..<1000 {
      let (isFirst, isMore) = (shares.take(Self.ann, 16), shares.take(Self.ann))
      #expect(isFirst && !isMore)
      #expect(shares.count == 16)
      shares.give(Self.ann, 16)
    }
    #expect(shares.count == 0)
    let isTooMuch = shares.take(Self.ann, 17)
    #expect(!isTooMuch)
    #expect(shares.count == 0)
    #expect(fill(&shares, Self.ann) == 16)
  }
}

@Suite("Names")
struct NameTests {
  @Test("are octets: two ways to write one character are two names")
  func octets() {
    let composed = Name("\u{E9}")
    let decomposed = Name("e\u{301}")
    #expect("\u{E9}" == "e\u{301}")
    #expect(composed != decomposed)
    #expect(Set([composed, decomposed]).count == 2)
    #expect(Name([0xFF]).text == nil)
    #expect(Name([0xCC, 0x81, 0x78]).octets == [0xCC, 0x81, 0x78])
    #expect(decomposed < composed)
  }

  @Test("of users and hosts are visible ASCII, so that no two look alike")
  func principals() {
    #expect(Principal("ann@kea") == Principal(user: "ann", host: "kea"))
    for text in [
      "a@b@kea", "e\u{301}@kea", "ann@k\u{E9}a", "a b@kea", "@kea", "ann@", "ann", "a\n@kea",
    ] {
      #expect(Principal(text) == nil, "\(text)")
    }
    let contained = Principal("root@kea")
    #expect(contained != Principal("root@kea", marks: .fullRoot))
    #expect(contained?.isRoot == true && contained?.isFullRoot == false)
    #expect(Principal("root@kea", marks: .fullRoot)?.isFullRoot == true)
    #expect(Principal("ann@kea", marks: .fullRoot)?.isFullRoot == false)
    let longest = String(repeating: "a", count: Principal.userBytesMax)
    #expect(Principal("\(longest)@kea") != nil && Principal("\(longest)a@kea") == nil)
  }
}
