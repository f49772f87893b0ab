#if V_LIBFUZZER
  import Foundation
  import VProtocol

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

  /// The file `V_FUZZ_LAST`, if it is to be written: the inputs since the nodes were made, each
  /// behind its length of 32 bits.
  ///
  /// Written before each input, and by the system, so that it is whole whatever happens then.
  private let last: Int32? = ProcessInfo.processInfo.environment["V_FUZZ_LAST"].map {
    let file = open($0, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o644)
    guard file >= 0 else {
      perror($0)
      exit(2)
    }
    return file
  }

  private func note(_ input: [UInt8], isFirst: Bool) {
    guard let last else { return }
    if isFirst { ftruncate(last, 0) }
    var record = SegmentWriter(reserving: 4 + input.count)
    record.integer(UInt32(input.count))
    record.octets(input)
    guard write(last, record.bytes, record.bytes.count) == record.bytes.count else {
      perror("V_FUZZ_LAST")
      exit(2)
    }
  }

  private func take(_ input: [UInt8]) {
    if let parser = Fuzz.take(input, by: target, note: { note(input, isFirst: $0) }) {
      fatalError("\(parser): not the same after emitting")
    }
  }

  /// Writes the first inputs to the directory `V_FUZZ_SAMPLES`, or takes in those of the file
  /// `V_FUZZ_REPLAY`, if there is one, and ends.
  @_cdecl("LLVMFuzzerInitialize")
  public func initialize(
    _ count: UnsafeMutableRawPointer?, _ arguments: UnsafeMutableRawPointer?
  ) -> Int32 {
    let environment = ProcessInfo.processInfo.environment
    if let folder = environment["V_FUZZ_SAMPLES"] {
      for (index, sample) in Fuzz.corpus().enumerated() {
        let place = URL(fileURLWithPath: folder).appending(path: "sample-\(index)")
        try? Data(sample).write(to: place)
      }
      exit(0)
    }
    guard let file = environment["V_FUZZ_REPLAY"] else { return 0 }
    guard let octets = try? Data(contentsOf: URL(fileURLWithPath: file)) else {
      print("\(file): cannot be read")
      exit(2)
    }
    var reader = SegmentReader(Array(octets))
    var count = 0
    while let size = try? reader.integer(UInt32.self),
      let input = try? reader.octets(Int(size))
    {
      take(input)
      count += 1
    }
    print("\(count) inputs without a finding")
    exit(0)
  }

  @_cdecl("LLVMFuzzerTestOneInput")
  public func testOneInput(_ octets: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    take(Array(UnsafeBufferPointer(start: octets, count: count)))
    return 0
  }
#endif
