import VLoop

/// A place for one value, for which one thread waits.
///
/// `@unchecked Sendable`: the value is touched only inside `monitor`.
package final class Mailbox<Value: Sendable>: @unchecked Sendable {
  private let monitor = Monitor()
  private var value: Value?

  package init() {}

  var isFull: Bool { monitor.enter { value != nil } }

  /// Puts a value in; the first of several stays.
  package func put(_ value: Value) {
    monitor.enter {
      if self.value == nil { self.value = value }
      monitor.signal()
    }
  }

  /// Waits for the value.
  package func wait() -> Value {
    monitor.enter {
      while true {
        if let value { return value }
        monitor.wait()
      }
    }
  }
}
