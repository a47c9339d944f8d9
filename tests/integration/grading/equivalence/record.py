"""Records stock nbgrader's marks: `./leerlab test tests/integration/grading/equivalence/record.py`.

Grades what was not recorded, or has changed since, or was recorded with another lock of the notebook environment, and
leaves the whole record as `build/equivalence/stock.json`, to be put in the place of the one here. Everything anew takes
a quarter of an hour; pytest runs this file only when it is named.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from equal_stock import CELL_SECONDS, RECORD, graded_by_stock, lock_of, recorded
from equal_work import all_work

from base.paths import Installation, State
from confinement.seccomp import write_filters

pytestmark = pytest.mark.timeout(4 * 3600)


def test_stock_is_recorded(folder: Path, installation: Installation) -> None:
    state = State(folder / "s")
    state.make()
    write_filters(state.generated)
    lock = lock_of(installation)
    before = recorded() if RECORD.exists() else {"lock": "", "work": {}}
    known = before["work"] if (before["lock"], before.get("cell_seconds")) == (lock, CELL_SECONDS) else {}
    works = all_work()
    kept = {work.name: known[work.name] for work in works if known.get(work.name, {}).get("digest") == work.digest}
    home = folder / "stock"
    home.mkdir()
    found = graded_by_stock([work for work in works if work.name not in kept], home, state, installation, 3 * 3600)
    digests = {work.name: work.digest for work in works}
    for name, told in found.items():
        kept[name] = {"digest": digests[name], "marks": told["marks"]}
    place = Path(os.environ["LEERLAB_BUILD"]) / "equivalence" / "stock.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"  {json.dumps(name)}: {json.dumps(kept[name])}" for name in sorted(kept)]
    head = f'{{\n "lock": "{lock}",\n "cell_seconds": {CELL_SECONDS},\n "work": {{\n'
    place.write_text(head + ",\n".join(lines) + "\n }\n}\n")
