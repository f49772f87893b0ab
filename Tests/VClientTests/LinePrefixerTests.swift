import Testing
import VClient

@Suite("A host's name before each line")
struct PrefixTests {
  private func prefixed(_ pieces: [String]) -> String {
    var prefixer = LinePrefixer("moa: ")
    let octets = pieces.flatMap { prefixer.take(Array($0.utf8)) } + prefixer.finish()
    return String(decoding: octets, as: UTF8.self)
  }

  @Test("stands once in each line, however the lines are split")
  func pieces() {
    let text = "one\n\ntwo\nlast"
    let expected = "moa: one\nmoa: \nmoa: two\nmoa: last\n"
    for cut in 0...text.count {
      #expect(prefixed([String(text.prefix(cut)), String(text.dropFirst(cut))]) == expected)
    }
    #expect(prefixed(text.map(String.init)) == expected)
    #expect(prefixed([]) == "")
  }

  @Test("does not wait for the end of an endless line")
  func endless() {
    var prefixer = LinePrefixer("moa: ")
    let octets = prefixer.take([UInt8](repeating: 0x61, count: LinePrefixer.lineBytesMax + 1))
    #expect(octets.count == LinePrefixer.lineBytesMax + 1 + "moa: \n".count)
  }
}
