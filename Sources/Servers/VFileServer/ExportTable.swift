import Synchronization
import VProtocol

/// The exports of a file server by number, and the present directory of each.
///
/// Open files and contexts refer to their export by its number, so a number is never given to
/// another export.
final class ExportTable: Sendable {
  /// The relation of a context to the table.
  enum Root: Equatable, Sendable {
    /// It is no export's root.
    case none
    /// It was checked a moment ago, and a directory was there, or not.
    case known(isThere: Bool)
    case due(Int)
  }

  private struct Entry: Sendable {
    var export: Export
    /// Its path without links: so a link that replaces a directory does not lead elsewhere.
    var path: String
    let context: ContextID
    var identity: Descriptor.Identity?
    var lookAt: Time
    var isServed = true
  }

  private let state = Mutex<[Entry]>([])

  /// How soon a newly mounted disk, or a replaced directory, is noticed.
  private static let lookInterval = TimeSpan.seconds(1)

  subscript(number: Int) -> Export { state.withLock { $0[number].export } }

  /// The exports that are served, with their numbers and contexts.
  var served: [(number: Int, export: Export, context: ContextID)] {
    state.withLock { entries in
      entries.enumerated().filter(\.element.isServed).map {
        ($0.offset, $0.element.export, $0.element.context)
      }
    }
  }

  /// Adds an export under a new number, or under the one that its prefix had; nil if there are too
  /// many.
  ///
  /// `context` is its root's if it is new.
  func put(_ export: Export, path: String, context: ContextID, at now: Time) -> Int? {
    state.withLock { entries in
      guard let number = entries.firstIndex(where: { $0.export.prefix == export.prefix }) else {
        guard entries.count < Export.exportsMax else { return nil }
        entries.append(Entry(export: export, path: path, context: context, lookAt: now))
        return entries.count - 1
      }
      if entries[number].export.path != export.path || !entries[number].isServed {
        (entries[number].path, entries[number].lookAt) = (path, now)
      }
      entries[number].export = export
      entries[number].isServed = true
      return number
    }
  }

  /// The first of these exports that no number is left for.
  func firstWithoutRoom(_ new: [Export]) -> Export? {
    state.withLock { entries in
      let known = Set(entries.map(\.export.prefix))
      return new.filter { !known.contains($0.prefix) }
        .dropFirst(Export.exportsMax - entries.count).first
    }
  }

  func remove(_ number: Int) { state.withLock { $0[number].isServed = false } }

  func root(_ context: ContextID, at now: Time) -> Root {
    state.withLock { entries in
      guard let number = entries.firstIndex(where: { $0.context == context }) else { return .none }
      guard entries[number].lookAt > now else { return .due(number) }
      return .known(isThere: entries[number].identity != nil)
    }
  }

  /// Where to look for the directory of an export.
  func place(_ number: Int) -> (path: String, context: ContextID) {
    state.withLock { ($0[number].path, $0[number].context) }
  }

  /// Notes what was found there; returns what was found before.
  func note(
    _ number: Int, _ identity: Descriptor.Identity?, at now: Time
  ) -> Descriptor.Identity? {
    state.withLock { entries in
      entries[number].lookAt = now + Self.lookInterval
      defer { entries[number].identity = identity }
      return entries[number].identity
    }
  }
}
