"""Run in a user and mount namespace of its own: a whole site on a disk of 24 MiB that an upload fills. Prints JSON."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import SETTINGS, Airlock, running_clamd, site_of

from base.paths import State
from confinement.seccomp import write_filter

DISK = "24M"
CSV = b"datum,waarde\n2026-01-01,3\n"


def main() -> None:
    folder = Path(sys.argv[1])
    subprocess.run(
        ["/usr/bin/mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(folder)], check=True, timeout=10
    )
    state = State(folder / "s")
    state.make()
    write_filter(state.generated / "seccomp.bpf")
    with running_clamd(state), site_of(state) as airlock:
        # What somebody else has put on the same disk: no limit of the sandbox is near.
        filler = folder / "others"
        filler.touch()
        room = os.statvfs(folder)
        os.posix_fallocate(os.open(filler, os.O_WRONLY), 0, room.f_bavail * room.f_bsize - 4 * 2**20)
        first = outcome(airlock, "vol.csv", b"1,2\n" * 2**20 + b"3,4\n" * 2**20)
        left = [path.name for path in airlock.folders.quarantine.iterdir()]
        sent = airlock.send("klein.csv", CSV)
        asyncio.run(airlock.quarantine.resume())
        print(  # noqa: T201  # its answer
            json.dumps(
                {"first": first, "left": left, "second": sent.state, "inside": sorted(airlock.inside()),
                 "trail": airlock.ledger.verify() > 0, "limit": int(SETTINGS.upload)}
            )
        )  # fmt: skip


def outcome(airlock: Airlock, name: str, content: bytes) -> list[str | None]:
    found = airlock.send(name, content)
    return [found.state, found.reason]


if __name__ == "__main__":
    main()
