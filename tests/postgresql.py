"""A PostgreSQL of the tests' own: on a unix socket in a private folder, run by the account that runs the tests."""

from __future__ import annotations

import getpass
import itertools
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
START_SECONDS = 30.0


class PostgreSQL:
    """A running server.

    Args:
        folder: of its data and its socket; a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._names = itertools.count()
        self._reused: str | None = None
        # peer: the kernel says who connects, as on a real site.
        subprocess.run(
            [PROGRAMS / "initdb", "--no-sync", "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8", "-D", self.data],
            stdout=subprocess.DEVNULL, timeout=60, check=True,
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAMS / "postgres", "-D", self.data, "-c", "listen_addresses=", "-c", "fsync=off",
                 "-c", f"unix_socket_directories={self.folder}", "-c", "shared_buffers=16MB"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it, with every connection: a fast shutdown, or with SIGQUIT one that writes nothing any more."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(30)

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of its own, each statement by itself."""
        return psycopg.connect(dbname=database, host=str(self.folder), autocommit=True, user=getpass.getuser())

    def database(self) -> str:
        """Make an empty database; its name."""
        name = f"leerlab_{next(self._names)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def emptied(self) -> str:
        """A database that every call of this empties: sooner there than a new one. Its name."""
        if self._reused is None:
            self._reused = self.database()
        with self.connect(self._reused) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self._reused

    def url(self, database: str) -> str:
        """The address as site.yaml has it."""
        return f"postgresql:///{database}?host={self.folder}"


@contextmanager
def running() -> Iterator[PostgreSQL]:
    """A server that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ll-pg-", dir="/tmp"))
    server = PostgreSQL(folder)
    try:
        yield server
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)
