"""The job of one graded notebook, outside the wall: runs it behind a wall without any way out, and says how it ended.

Run as `/usr/bin/python3 -I -S grading/job.py` by a Slurm job: standard library and `confinement` only. What to do is
in the environment variable LEERLAB_JOB, which is removed before anything else. The result stays in the wall's home,
from which the service collects it; whatever stops this program, what was written by then is not lost.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from confinement import gpu
from confinement.errors import WallRefused
from confinement.run import Walled, start
from confinement.wall import Wall

VARIABLE = "LEERLAB_JOB"
LOG_BYTES = 2**20
NOT_STARTED = 70  # EX_SOFTWARE, sysexits.h(3)


@dataclass(frozen=True)
class Task:
    """What the grading service asks of one job.

    Args:
        wall: the notebook's wall; it has no relays.
        seconds: most time for the notebook as a whole, from the wall's start.
        outcome: file outside the wall that says at the end how it went.
        log: file that gets what was written to standard output and error inside, cut at `LOG_BYTES`.
        use: file that gets what the job uses (`confinement.meter`); None: nobody counts.
    """

    wall: Wall
    seconds: int
    outcome: Path
    log: Path
    use: Path | None = None

    def to_json(self) -> str:
        """As the value of LEERLAB_JOB."""
        plain = {
            "wall": self.wall.to_json(),
            "seconds": self.seconds,
            "outcome": str(self.outcome),
            "log": str(self.log),
            "use": str(self.use) if self.use is not None else None,
        }
        return json.dumps(plain)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Read what `to_json` wrote.

        Raises:
            KeyError, ValueError: it is not complete.
            confinement.errors.WallInvalid: the wall is not one that may be built.
        """
        raw = json.loads(text)
        use = Path(raw["use"]) if raw.get("use") is not None else None
        return cls(Wall.from_json(raw["wall"]), int(raw["seconds"]), Path(raw["outcome"]), Path(raw["log"]), use)


def run(task: Task) -> int:
    """Run the notebook until it ends, its time is over, or the job gets SIGTERM.

    Returns:
        0 when the service can find out how it went; `NOT_STARTED` when the wall could not be built.
    """
    asked_to_end = threading.Event()
    walled: Walled | None = None

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        asked_to_end.set()
        if walled is not None:
            # Not from within the handler: ending waits, and the main thread may hold the lock it waits for.
            threading.Thread(target=_end, args=(walled,), daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        wall, devices = gpu.admit(task.wall, os.environ)
        walled = start(wall, output=log, output_limit=LOG_BYTES)
    except WallRefused as error:
        _write(task.outcome, {"outcome": "not_started", "reason": str(error)})
        sys.stderr.write(f"{error}\n")
        return NOT_STARTED
    if asked_to_end.is_set():
        walled.terminate()
    # Imported now that the wall has started: nobody waits for it.
    from confinement.meter import Meter  # noqa: PLC0415

    with Meter(task.use, devices):
        try:
            code = walled.wait(task.seconds)
            outcome = "done" if code == 0 else "ended"
        except TimeoutError:
            code, outcome = walled.terminate(), "time"
    if asked_to_end.is_set():
        # Slurm or an operator ended the job; Slurm itself knows why.
        return 0
    _write(task.outcome, {"outcome": outcome, "code": code})
    return 0


def _end(walled: Walled) -> None:
    with suppress(TimeoutError):
        walled.terminate()


def _write(path: Path, what: dict[str, object]) -> None:
    fresh = path.with_suffix(".fresh")
    fresh.write_text(json.dumps(what), encoding="utf-8")
    fresh.replace(path)


def main() -> int:
    """Take the task out of the environment and run it."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        sys.stderr.write(f"{VARIABLE} is not set: this program is started by the grading service, as a Slurm job.\n")
        return 2
    return run(Task.from_json(text))


if __name__ == "__main__":
    sys.exit(main())
