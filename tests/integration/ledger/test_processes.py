"""Several processes at one ledger, and a disk that is full."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from base.errors import LeerlabError
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


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Addresses of ledgers that do not exist yet."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{secrets.token_hex(4)}.sqlite"
    server = request.getfixturevalue("postgresql")
    return lambda: str(server.url(server.database()))


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The address of a ledger that does not exist yet."""
    return new_url()


def test_every_entry_of_eight_writers_is_kept_and_the_chain_holds(url: str) -> None:
    together(WRITE, url, WRITERS)
    with closing(Ledger(url, KEY)) as ledger:
        assert ledger.verify() == WRITERS * EACH
        for number in range(WRITERS):
            kept = [entry.subject for entry in ledger.entries(actor=f"writer-{number}")]
            assert kept == [str(entry) for entry in range(EACH)]


def test_processes_that_make_the_tables_at_the_same_time_agree(new_url: Callable[[], str]) -> None:
    for _ in range(3):
        fresh = new_url()
        assert len(set(together(MEET, fresh, 2))) == 1
        with closing(Ledger(fresh, KEY)) as ledger:
            assert ledger.verify() == 0


@pytest.mark.fault
def test_a_full_disk_refuses_the_entry_and_leaves_a_valid_chain(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
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


@pytest.mark.fault
def test_a_restarted_database_is_a_clear_error_and_then_found_again() -> None:
    import postgresql

    with postgresql.running() as server, closing(Ledger(server.url(server.database()), KEY)) as ledger:
        ledger.record("sanne", "test.before", "x", {})
        server.stop()
        with pytest.raises(LeerlabError, match=r"cannot be read or written.*has not been recorded"):
            ledger.record("sanne", "test.during", "x", {})
        server.start()
        assert ledger.record("sanne", "test.after", "x", {}).sequence == 2
        assert ledger.verify() == 2


def test_writers_without_the_writers_lock_chain_to_the_same_entry(postgresql: Any) -> None:
    """The control of the first test: it is the lock that keeps writers apart, not luck."""
    url = str(postgresql.url(postgresql.database()))
    with closing(Ledger(url, KEY)):
        pass
    unlocked = WRITE.replace(
        "import sys\n", "import sys\nimport ledger.database\nledger.database.LOCK = 'SELECT 1'\n", 1
    )
    failed: list[str] = []
    # On a busy machine one writer may be done before the next has started.
    for _ in range(10):
        processes = [start(unlocked, url, f"writer-{number}") for number in range(4)]
        failed = [process.communicate(timeout=PATIENCE)[1] for process in processes]
        if any("duplicate key" in error for error in failed):
            return
    pytest.fail(f"no two writers chained to the same entry: {failed}")


def test_what_is_erased_leaves_the_files_of_the_database(postgresql: Any) -> None:
    name = postgresql.database()
    word = b"a word that is to be erased"
    with closing(Ledger(str(postgresql.url(name)), KEY)) as ledger:
        ledger.person("oidc", "subject", word.decode())
        with postgresql.connect(name) as connection:
            connection.execute("CHECKPOINT")
        assert in_tables(postgresql, name, word), "the control: it is looked for where it is"
        ledger.person("oidc", "subject", "")
        ledger.settle()
    assert not in_tables(postgresql, name, word)


def in_tables(server: Any, name: str, word: bytes) -> bool:
    """Whether a word stands in the files of a database's tables."""
    with server.connect(name) as connection:
        connection.execute("CHECKPOINT")
        [(number,)] = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,)).fetchall()
    return any(word in file.read_bytes() for file in (server.data / "base" / str(number)).iterdir() if file.is_file())
