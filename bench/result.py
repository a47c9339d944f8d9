"""What a benchmark yields, and the one JSON line it ends with."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """Medians of one benchmark.

    Args:
        name: the benchmark.
        unit: unit of all figures.
        product: the measured values of Leerlab, one per repetition.
        peers: the same for each peer, measured in turn with the product.
        limit: the physical or theoretical bound, measured in the same run.
        notes: what a reader must know to judge the figures.
    """

    name: str
    unit: str
    product: Sequence[float]
    peers: Mapping[str, Sequence[float]]
    limit: Sequence[float]
    notes: Sequence[str] = field(default_factory=tuple)

    def as_json(self) -> str:
        """One line: medians, `ratio` = product/peer, `of_limit` = product/limit; the best peer is `peer`."""
        product, limit = statistics.median(self.product), statistics.median(self.limit)
        peers = {name: statistics.median(values) for name, values in self.peers.items()}
        peer = min(peers.values())
        return json.dumps(
            {
                "name": self.name,
                "unit": self.unit,
                "product": round(product, 3),
                "peer": round(peer, 3),
                "peers": {name: round(value, 3) for name, value in peers.items()},
                "ratio": round(product / peer, 3),
                "limit": round(limit, 3),
                "of_limit": round(product / limit, 3),
                "n": len(self.product),
                "spread": {
                    name: [round(min(values), 3), round(max(values), 3)]
                    for name, values in {"product": self.product, "limit": self.limit, **self.peers}.items()
                },
                "notes": list(self.notes),
            }
        )

    def as_text(self) -> str:
        """The same for a person."""
        rows = [("product", self.product), *self.peers.items(), ("limit", self.limit)]
        lines = [f"{self.name} ({self.unit}; median, lowest, highest; n = {len(self.product)})"]
        for name, values in rows:
            lines.append(f"  {name:32} {statistics.median(values):8.3f} {min(values):8.3f} {max(values):8.3f}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])
