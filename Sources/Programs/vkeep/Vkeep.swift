import VKeeping

@main
enum Vkeep {
  static func main() { Keeping.main() }
}
