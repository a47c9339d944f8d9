"""Several processes at one ledger, and a disk that is full."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ledger.store import Ledger

pytestmark = pytest.mark.integration

KEY = b"k" * 32
WRITERS = 8
EACH = 100
PATIENCE = 100

OPEN = f"""
import sys
from ledger.store import Ledger
ledger = Ledger(sys.argv[1], {KEY!r}, busy_seconds=60)
"""
WRITE = f"""{OPEN}
for number in range({EACH}):
    ledger.record(sys.argv[2], "test.write", str(number), {{"writer": sys.argv[2]}})
"""
MEET = f"""{OPEN}
print(ledger.person("oidc", "the same person", "x").pseudonym)
"""
# To the process, a limit on the size of files is a disk that is full beyond it.
FILL = f"""{OPEN}
import resource
from base.errors import LeerlabError
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
number = 0
try:
    while number < 100_000:
        ledger.record("sanne", "test.fill", str(number), {{"filling": "x" * 3000}})
        number += 1
except LeerlabError as error:
    print(number, error.what)
"""


def together(program: str, url: str, count: int) -> list[str]:
    """Run a program in several processes at once; what each printed."""
    processes = [start(program, url, f"writer-{number}") for number in range(count)]
    printed = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, err
            printed.append(out.strip())
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=10)
    return printed


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program in a Python of its own; `arguments` are its sys.argv[1] and on."""
    argv = [sys.executable, "-c", program, *arguments]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The address of a ledger that does not exist yet."""
    return f"sqlite:///{tmp_path}/ledger.sqlite"


def test_every_entry_of_eight_writers_is_kept_and_the_chain_holds(url: str) -> None:
    together(WRITE, url, WRITERS)
    with closing(Ledger(url, KEY)) as ledger:
        assert ledger.verify() == WRITERS * EACH
        for number in range(WRITERS):
            kept = [entry.subject for entry in ledger.entries(actor=f"writer-{number}")]
            assert kept == [str(entry) for entry in range(EACH)]


def test_processes_that_make_the_file_at_the_same_time_agree(tmp_path: Path) -> None:
    for attempt in range(3):
        fresh = f"sqlite:///{tmp_path}/{attempt}.sqlite"
        assert len(set(together(MEET, fresh, 2))) == 1
        with closing(Ledger(fresh, KEY)) as ledger:
            assert ledger.verify() == 0


@pytest.mark.fault
def test_a_full_disk_refuses_the_entry_and_leaves_a_valid_chain(url: str) -> None:
    process = start(FILL, url)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    written, _, complaint = out.strip().partition(" ")
    assert "cannot be read or written" in complaint
    with closing(Ledger(url, KEY)) as ledger:
        assert ledger.verify() == int(written) > 10
        assert ledger.record("sanne", "test.after", "x", {}).sequence == int(written) + 1


@pytest.mark.fault
def test_a_writer_that_is_killed_leaves_a_valid_chain(url: str) -> None:
    with closing(Ledger(url, KEY)) as ledger:
        process = start(WRITE.replace(f"range({EACH})", "range(10**6)"), url, "writer-0")
        try:
            while not ledger.entries(after=20, limit=1):
                assert process.poll() is None
        finally:
            process.kill()
            process.communicate(timeout=10)
        kept = ledger.verify()
        assert ledger.record("sanne", "test.after", "x", {}).sequence == kept + 1
        assert ledger.verify() == kept + 1 > 20
