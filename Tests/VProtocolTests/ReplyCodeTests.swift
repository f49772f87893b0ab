import Testing
import VProtocol

@Suite("Reply code")
struct ReplyCodeTests {
  @Test("the named codes differ, and so do their sentences")
  func unique() {
    #expect(Set(ReplyCode.named).count == ReplyCode.named.count)
    #expect(Set(ReplyCode.named.map(\.description)).count == ReplyCode.named.count)
    #expect(ReplyCode.named.count == 19 + 41)
  }

  @Test("VMTP's codes are below 64, V's from 0x800001 on without a gap")
  func ranges() {
    let (vmtp, v) = (
      ReplyCode.named.filter { $0.rawValue < 64 }, ReplyCode.named.filter { $0.rawValue >= 64 }
    )
    #expect(vmtp.map(\.rawValue).sorted() == Array(0...18))
    #expect(v.map(\.rawValue).sorted() == Array(0x80_0001...0x80_0029))
  }

  @Test("a code becomes an error number and back, to a code with that number")
  func roundTrip() {
    for code in ReplyCode.named {
      let back = ReplyCode(errno: code.errno)
      #expect(back.errno == code.errno, "\(code)")
      // Only codes that share a number come back as another code.
      let isShared = ReplyCode.named.count { $0.errno == code.errno } > 1
      #expect(back == code || isShared, "\(code)")
    }
  }

  @Test(
    "a shared number gives the code that managers use",
    arguments: [
      (0, ReplyCode.ok), (5, .deviceError), (11, .wouldBlock), (13, .noPermission), (16, .inUse),
      (22, .badArguments), (95, .notSupported), (112, .retransmissionTimeout),
      (116, .invalidFileID), (9, .notReadable),
    ] as [(Int32, ReplyCode)])
  func preferred(number: Int32, code: ReplyCode) {
    #expect(ReplyCode(errno: number) == code)
  }

  @Test("numbers without a code are a device error, codes without a name EIO")
  func unknown() {
    for number: Int32 in [-1, 999, .min, .max] {
      #expect(ReplyCode(errno: number) == .deviceError)
    }
    for value: UInt32 in [19, 63, 64, 0x7F_FFFF, 0x80_0000, 0x80_002A, .max] {
      let code = ReplyCode(rawValue: value)
      #expect(code.errno == 5)
      #expect(code.description == "reply code \(value)")
      #expect(!code.isOK)
    }
  }

  @Test("every error number gives a code, and only 0 gives OK")
  func everyNumber() {
    for number: Int32 in 1...133 {
      let code = ReplyCode(errno: number)
      #expect(!code.isOK)
      #expect(code.errno == number || code == .deviceError)
    }
  }

  @Test("a message carries the 24 bits of its code")
  func message() {
    for code in ReplyCode.named { #expect(Message(reply: code).reply == code) }
    let message = Message(reply: ReplyCode(rawValue: 0xFF80_0009))
    #expect(message.reply == .notFound)
    #expect(message.mcb.flags == [])
  }
}
