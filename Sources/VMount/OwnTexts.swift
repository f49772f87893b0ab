internal import VProtocol
internal import VRuntime

/// What the files of `/v/.v` say. Lines of a word and its values.
extension Mount {
  /// Protocol and form of these files.
  static func versionText(_ backplane: any Backplane) -> String {
    """
    node \(backplane.host)
    protocol VMTP 0, domain 0x\(String(PacketHeader.clusterDomain, radix: 16))
    files 1

    """
  }

  /// The prefix cache: what it did, and every prefix that it knows with its manager.
  static func namingText(_ names: NameCache) -> String {
    let counters = names.counters
    var text = """
      hits \(counters.hits)
      misses \(counters.misses)
      multicasts \(counters.multicasts)

      """
    for prefix in names.prefixes {
      text += "prefix \(String(decoding: prefix.name, as: UTF8.self)) \(prefix.manager)\n"
    }
    return text
  }

  /// Every open instance: its number, its manager, who opened it, how.
  static func instancesText(_ handles: HandleTable) -> String {
    var text = ""
    for handle in handles.all {
      text += "\(handle.instance.rawValue) \(handle.manager) \(handle.user) \(handle.mode.words)\n"
    }
    return text
  }
}
