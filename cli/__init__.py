"""The `leerlab` command: parses, calls, prints; no logic of its own."""
