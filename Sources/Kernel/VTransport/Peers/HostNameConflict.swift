public import VProtocol

/// Which kernel has the name of this host: this one, or another one that started earlier.
///
/// ```
///           an older kernel answers for the name
///   holding ------------------------------------> yielding --+ probe: every 5 s, and every second
///      ^                                             |   ^   | once an answer is overdue
///      +------- no answer for 10 s ------------------+   +---+
/// ```
/// Of two kernels with one host name the one that started later yields; of two that started at the
/// same time the one with the greater identifier. Both decide alike without agreeing. A kernel of
/// an earlier boot of this host answers no more, and is not yielded to.
public struct HostNameConflict: Sendable {
  /// A kernel that answers for the name.
  public struct Claimant: Equatable, Sendable {
    public var kernel: KernelID
    /// Nanoseconds since 1970, by its host's clock.
    public var startedAt: UInt64

    public init(kernel: KernelID, startedAt: UInt64) {
      self.kernel = kernel
      self.startedAt = startedAt
    }

    func isOlder(than other: Claimant) -> Bool {
      (startedAt, kernel.rawValue) < (other.startedAt, other.kernel.rawValue)
    }
  }

  public enum Action: Equatable, Sendable {
    case nothing
    /// Leave the cluster: `holder` has changed.
    case yield
    /// Ask this kernel for a sign of life.
    case probe(KernelID, Locator)
    /// The name is this kernel's again.
    case resume
  }

  public let own: Claimant
  private var other: (claimant: Claimant, locator: Locator, answeredAt: Time)?
  /// When `handleTimer` wants to be called; meaningless while no other kernel has the name.
  public private(set) var wakeAt = Time(nanoseconds: 0)

  /// How often a holder that answers is probed.
  public static let probeInterval = TimeSpan.seconds(5)
  /// How often one is probed whose answer is overdue: two lost packets must not look like its end.
  public static let overdueInterval = TimeSpan.seconds(1)
  /// A holder that was silent for this long has ended.
  public static let patience = TimeSpan.seconds(10)

  public init(own: Claimant) { self.own = own }

  /// The kernel that has the name in the place of this one, and where it is.
  public var holder: NameHolder? {
    other.map { ($0.claimant.kernel, $0.locator) }
  }

  /// A kernel has answered for this host's name.
  public mutating func handleAnswer(
    _ claimant: Claimant, from locator: Locator, at now: Time
  ) -> Action {
    if let known = other, known.claimant.kernel == claimant.kernel {
      other = (claimant, locator, now)
      wakeAt = now + Self.probeInterval
      return known.locator == locator ? .nothing : .yield
    }
    guard claimant.isOlder(than: own), other.map({ claimant.isOlder(than: $0.claimant) }) ?? true
    else { return .nothing }
    other = (claimant, locator, now)
    wakeAt = now + Self.probeInterval
    return .yield
  }

  public mutating func handleTimer(at now: Time) -> Action {
    guard let known = other, wakeAt <= now else { return .nothing }
    guard now < known.answeredAt + Self.patience else {
      other = nil
      return .resume
    }
    wakeAt = now + Self.overdueInterval
    return .probe(known.claimant.kernel, known.locator)
  }
}

/// A kernel that has the name of this host, and where it is.
///
/// A tuple, so that its readers need not import the kernel.
public typealias NameHolder = (kernel: KernelID, locator: Locator)
