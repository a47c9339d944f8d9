"""A process of its own that takes one file in with the real quarantine, for tests that kill it: STATE SANDBOX NAME.

The file comes from its standard input; it writes a line when the first piece has been written down. With LOOK in its
environment another program looks at the file's type, behind the same wall.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

from conftest import SETTINGS

from base.paths import State
from ledger.store import Ledger
from ledger.transfers import TransferLedger
from sandboxes.airlock import inspect
from sandboxes.airlock.clamav import Scanner
from sandboxes.airlock.quarantine import Quarantine


async def pieces() -> AsyncIterator[bytes]:
    """The file; the second piece is asked for when the first is on its way to the disk."""
    first = True
    while piece := await asyncio.to_thread(sys.stdin.buffer.read1, 2**16):
        yield piece
        if first:
            sys.stdout.write("begun\n")
            sys.stdout.flush()
        first = False


def main() -> None:
    folder, sandbox, name = sys.argv[1:]
    if "LOOK" in os.environ:
        inspect.PROGRAM = Path(os.environ["LOOK"])
    state = State(Path(folder))
    with closing(Ledger(f"sqlite:///{state.ledger}", b"k" * 32)) as ledger:
        quarantine = Quarantine(TransferLedger(ledger), state, SETTINGS, Scanner.of(state, SETTINGS))
        received = asyncio.run(quarantine.receive(sandbox, "mila", name, pieces()))
        sys.stdout.write(f"{received.state}\n")


if __name__ == "__main__":
    main()
