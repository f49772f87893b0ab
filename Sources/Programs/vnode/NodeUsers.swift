import VRuntime
import VStore

/// The user table of this host as the mount and the node's socket use it: without waiting.
struct NodeUsers: UserNames {
  let table: any UserTable
  let backplane: any Backplane

  func userName(_ id: UInt32) -> NameAnswer<String> {
    answer { () throws(StoreFailure) in try table.userName(id, .atOnce) }
  }
  func groupName(_ id: UInt32) -> NameAnswer<String> {
    answer { () throws(StoreFailure) in try table.groupName(id, .atOnce) }
  }
  func userID(_ name: String) -> NameAnswer<UInt32> {
    answer { () throws(StoreFailure) in try table.credentials(ofUser: name, .atOnce)?.uid }
  }
  func groupID(_ name: String) -> NameAnswer<UInt32> {
    answer { () throws(StoreFailure) in try table.groupID(name, .atOnce) }
  }

  func find(_ questions: [NameQuestion], _ done: @escaping @Sendable () -> Void) {
    let questions = questions.map { question -> UserQuestion in
      switch question {
      case .userName(let id): .userName(id)
      case .groupName(let id): .groupName(id)
      case .userID(let name): .user(name)
      case .groupID(let name): .group(name)
      }
    }
    table.prepare(questions, on: backplane, done)
  }

  private func answer<Value>(
    _ find: () throws(StoreFailure) -> Value?
  ) -> NameAnswer<Value> {
    do throws(StoreFailure) {
      return try find().map { .known($0) } ?? .absent
    } catch {
      return .unknown
    }
  }
}
