"""Runs inside the new root file system: compiles all Python anew, so that two builds give the same bytes.

Compiled files as Debian's and pip's own steps make them differ from build to build: they hold the time of their source,
and the order of constant sets follows the seed of hashes and the places of objects in memory. Here the source's digest
stands in for its time, the seed is fixed, and each folder is compiled by a process of its own without address
randomisation (setarch -R), so that what was compiled before it, or beside it, does not matter.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOTS = ("/usr/lib/python3.11", "/usr/lib/python3/dist-packages", "/usr/share/python3", "/opt/notebook")
PYTHON = "/usr/bin/python3"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def parts(root: Path) -> list[tuple[Path, bool]]:
    """Folders to compile, each with whether what lies below it belongs to it: packages one by one."""
    found = [(root, False)]
    for entry in sorted(root.iterdir()):
        if entry.is_symlink() or not entry.is_dir():
            continue
        if entry.name in ("lib", "lib64", "python3.11", "site-packages") or entry == Path("/opt/notebook/lib"):
            found += parts(entry)
        else:
            found.append((entry, True))
    return found


def compile_part(part: tuple[Path, bool]) -> str:
    """Compile one part; gives what was said of files that are no Python of this version."""
    folder, whole = part
    # -R: no address randomisation. -f: whatever is there. unchecked-hash: nobody looks at the source again (PEP 552).
    done = subprocess.run(
        ["/usr/bin/setarch", "-R", PYTHON, "-E", "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode",
         "unchecked-hash", *([] if whole else ["-l"]), str(folder)],
        env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1) or done.stderr:
        raise SystemExit(f"{folder} could not be compiled: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def main() -> None:
    """Remove all compiled files, then compile."""
    roots = [Path(root) for root in ROOTS if Path(root).is_dir()]
    for root in roots:
        for cache in sorted(root.rglob("__pycache__")):
            shutil.rmtree(cache)
    work = [part for root in roots for part in parts(root)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for said in pool.map(compile_part, work):
            sys.stdout.write(said)


main()
