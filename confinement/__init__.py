"""The wall around one untrusted process tree: what it is (wall), how it starts (run), what passes (relay, collect)."""
