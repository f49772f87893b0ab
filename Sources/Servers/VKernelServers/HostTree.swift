import Synchronization
public import VObjects
public import VProtocol
public import VRuntime

/// The kernel servers of one node as a tree of names: what is shown under `host/<host>`.
///
/// ```
/// status time             the node; its clock
/// proc/ENTITY entity      its processes; all of them in one text
/// uio                     what its managers have open
/// device/                 null zero random clock
/// net/                    stats map peers trace
/// ```
public final class HostTree: Sendable {
  /// The data of the machine and of the other servers that the tree shows, each from memory.
  public struct Sources: Sendable {
    /// Lines on the machine: a word and its values.
    public var machine: @Sendable () -> [String]
    /// The managers of this host, which are asked for their open instances.
    public var managers: @Sendable () -> Set<EntityID>
    /// The last transactions, as lines.
    public var trace: @Sendable () -> String
    /// Starts or stops recording them.
    public var keepTrace: @Sendable (Bool) -> Void

    public init(
      machine: @escaping @Sendable () -> [String],
      managers: @escaping @Sendable () -> Set<EntityID>,
      trace: @escaping @Sendable () -> String, keepTrace: @escaping @Sendable (Bool) -> Void
    ) {
      self.machine = machine
      self.managers = managers
      self.trace = trace
      self.keepTrace = keepTrace
    }
  }

  /// The manager of the tree.
  public let manager: TreeManager

  public init(
    _ backplane: any Backplane, _ node: NodeServer, _ processes: ProcessServer,
    _ sources: Sources
  ) {
    let net = TreeContext([
      ("stats", .text(TreeText { node.countersText })),
      ("map", .text(TreeText { node.mapText })),
      ("peers", .text(TreeText(prepare: node.askingPeers) { node.peersText })),
      ("trace", .text(TreeText(command: Self.traceCommand(sources), sources.trace))),
    ])
    let devices = TreeContext(
      Device.allCases.map {
        (Name($0.rawValue), .file(DeviceFile(device: $0, backplane: backplane)))
      })
    let open = OpenInstances(backplane, of: sources.managers)
    let status = TreeText { node.statusText + sources.machine().map { $0 + "\n" }.joined() }
    manager = TreeManager(
      backplane,
      TreeContext([
        ("status", .text(status)),
        ("time", .text(TreeText { Device.clockLine(backplane.wallClock) })),
        ("proc", .context(processes.processes)),
        ("entity", .text(TreeText { processes.entitiesText })),
        ("uio", .text(TreeText(prepare: open.ask, for: open.text(for:)))),
        ("device", .context(devices)),
        ("net", .context(net)),
      ]), prefix: "host/\(backplane.host)")
  }

  private static func traceCommand(
    _ sources: Sources
  ) -> @Sendable (TreeText.Line, Outcome) -> Void {
    { line, done in
      guard line.text == "on" || line.text == "off" else {
        return done(Refusal(.badArguments, "the trace is on or off, not \(line.text)"))
      }
      sources.keepTrace(line.text == "on")
      done(nil)
    }
  }
}
