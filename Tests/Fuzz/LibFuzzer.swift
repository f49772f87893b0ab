#if V_LIBFUZZER
  import Foundation

  /// The entry points of libFuzzer, in the build of `Tests/fuzz`: `V_FUZZ_TARGET` names what is
  /// fuzzed.
  private let target: [Parser] = {
    let name = ProcessInfo.processInfo.environment["V_FUZZ_TARGET"] ?? ""
    guard let parsers = Parser.targets[name] else {
      print("V_FUZZ_TARGET is one of: \(Parser.targets.keys.sorted().joined(separator: " "))")
      exit(2)
    }
    return parsers
  }()

  /// Writes the first inputs to the directory `V_FUZZ_SAMPLES`, if there is one, and ends.
  @_cdecl("LLVMFuzzerInitialize")
  public func initialize(
    _ count: UnsafeMutableRawPointer?, _ arguments: UnsafeMutableRawPointer?
  ) -> Int32 {
    guard let folder = ProcessInfo.processInfo.environment["V_FUZZ_SAMPLES"] else { return 0 }
    for (index, sample) in Fuzz.corpus().enumerated() {
      let place = URL(fileURLWithPath: folder).appending(path: "sample-\(index)")
      try? Data(sample).write(to: place)
    }
    exit(0)
  }

  @_cdecl("LLVMFuzzerTestOneInput")
  public func testOneInput(_ octets: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let input = Array(UnsafeBufferPointer(start: octets, count: count))
    for parser in target where parser.run(input) == .broken {
      fatalError("\(parser.name): not the same after emitting")
    }
    return 0
  }
#endif
