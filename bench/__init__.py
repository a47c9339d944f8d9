"""Measurements: each benchmark runs product, peers and the limit in turn in one run. See docs/reference/performance.md."""
