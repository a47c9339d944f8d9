"""Measurements: product, peers and limit in turn in one run. See docs/reference/performance.md."""
