"""A whole site on machines made by the test; root only, and the machines are gone afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# pytest's importlib mode puts no test folder on the path.
sys.path[:0] = [str(HERE), str(HERE.parent / "journey")]

from deploy import Operator, operator  # noqa: E402  needs the path above


# For the session: a site takes minutes, and stories, attacks and faults all leave it whole.
@pytest.fixture(scope="session")
def bare() -> Iterator[Operator]:
    """Three machines with Debian on them and nothing else, and their operator."""
    with operator() as made:
        for number, name in enumerate(("hub1", "control1", "node1"), start=10):
            made.machine(name, number)
        made.write()
        yield made


@pytest.fixture(scope="session")
def site(bare: Operator) -> Operator:
    """The whole site, set up by the playbook."""
    bare.first = bare.play("site.yml")
    for machine in bare.machines.values():
        # What attacks and faults ask with; no role needs it.
        machine.run("apt-get -qq install --yes --no-install-recommends curl", timeout=600)
    return bare


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that fails tells how the site's machines see it: they are gone when somebody reads of it."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        made = getattr(item, "funcargs", {}).get("bare") or getattr(item, "funcargs", {}).get("site")
        if isinstance(made, Operator):
            for name, machine in made.machines.items():
                said = machine.run(
                    "systemctl --failed --no-legend; journalctl --no-pager -n 60 -p warning; "
                    f"tail -n 15 {made.state}/logs/*.log 2>/dev/null", check=False, timeout=30,
                ).stdout  # fmt: skip
                report.sections.append((f"on {name}", said[-6000:]))  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]
