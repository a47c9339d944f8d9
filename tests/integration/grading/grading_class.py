"""A class whose work is graded: what they answer, what marks that is worth, and what a course's server says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from grading_assignment import solve
from grading_site import Site, wait_until

RIGHT = "def kwadraat(x):\n    return x * x\n"
ANSWERS = {
    "anna": RIGHT,
    "bram": "def kwadraat(x):\n    return x + x\n",
    "cas": "def kwadraat(x):\n    raise ValueError(x)\n",
    "daan": "while True:\n    pass\n",
    "eva": "import os\nos._exit(1)\n",
    "fleur": "import csv\nkwadraat = lambda x: x ** 2 if open('gegevens.csv').read() else 0\n",
}
MARKS = {"anna": 3.0, "bram": 0.0, "cas": 0.0, "daan": 0.0, "eva": 0.0, "fleur": 3.0}
RUN = "formgrader/api/assignment/week-1/class_run"
COLLECT = "formgrader/api/assignment/week-1/collect"


def hand_in(site: Site, answers: Mapping[str, str]) -> None:
    """Put work where a course collects it, as the service does that takes it in."""
    for name, answer in answers.items():
        site.hub.groups[name] = ["nbgrader-alpha"]
        incoming = site.store.incoming_copy(site.store.release_of("alpha", "week-1").files)
        solve(incoming.folder / "files" / "kwadraten.ipynb", answer)
        # The description was of the file before: make it anew, as the service would on receiving this file.
        again = site.store.incoming_copy(incoming.folder / "files")
        incoming.give_up()
        site.store.submit("alpha", "week-1", name, again)


def ended(page: httpx.Client) -> dict[str, Any]:
    """What is told of the run over the class when it has ended."""

    def told() -> dict[str, Any]:
        run: dict[str, Any] = page.get(RUN).json()
        return {} if run["running"] else run

    return dict(wait_until(told, 250))


def marks(page: httpx.Client) -> dict[str, float | None]:
    """Everybody's score; None where there is none by the work that is there now."""
    found = page.get("formgrader/api/submissions/week-1").json()
    return {one["student"]: one["score"] if one["autograded"] else None for one in found}


def executions(site: Site) -> list[int]:
    """How many notebooks each execution took, as the ledger has them."""
    return [int(entry[3]["notebooks"]) for entry in site.recorded if entry[1] == "execution.start"]
