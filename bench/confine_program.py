"""What `confine-overhead` runs behind the wall and without one: prints the seconds that its work took.

Started as `python confine_program.py compute|files FOLDER`. Standard library only.
"""

import hashlib
import sys
import time
from pathlib import Path

_ROUNDS = 60
_FILES = 1500


def compute() -> int:
    """Whole numbers, memory and hashes; no system calls."""
    found = 0
    for round_ in range(_ROUNDS):
        table = [(number * 2654435761 + round_) % 65521 for number in range(8000)]
        table.sort()
        found ^= int.from_bytes(hashlib.sha256(bytes(one & 255 for one in table)).digest()[:8], "big")
    return found


def files(folder: Path) -> int:
    """Small files made, written, listed, read and removed."""
    size = 0
    place = folder / "many"
    place.mkdir()
    for number in range(_FILES):
        (place / f"{number}.txt").write_bytes(b"leerlab\n" * 512)
    for file in sorted(place.iterdir()):
        size += len(file.read_bytes()) + file.stat().st_size
        file.unlink()
    place.rmdir()
    return size


def main() -> None:
    """Run from the command line."""
    begin = time.perf_counter()
    found = compute() if sys.argv[1] == "compute" else files(Path(sys.argv[2]))
    print(time.perf_counter() - begin, found)  # noqa: T201


main()
