"""Runs inside the new root file system: compiles all Python anew, so that two builds give the same bytes.

Compiled files as Debian's and pip's own steps make them differ from build to build: they hold the time of their source,
and how a constant is written down follows what else the same process holds (marshal marks what is referred to twice).
Here the source's digest stands in for its time, and each folder is compiled by a process of its own in a fixed order:
what was compiled before it, or beside it, does not matter.
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
    """Folders to compile, each with whether all below it belongs to it: packages one by one."""
    found = [(root, False)]
    for entry in sorted(root.iterdir()):
        if entry.is_symlink() or not entry.is_dir():
            continue
        if entry.name in ("lib", "python3.11", "site-packages"):
            found += parts(entry)
        else:
            found.append((entry, True))
    return found


def compile_part(part: tuple[Path, bool]) -> str:
    """Compile one part; gives what was said of files that are no Python of this version."""
    folder, whole = part
    # -f: whatever is there. unchecked-hash: nobody looks at the source again (PEP 552).
    argv = [PYTHON, "-S", "-m", "compileall", "-q", "-f"]
    argv += ["--invalidation-mode", "unchecked-hash", *([] if whole else ["-l"]), str(folder)]
    done = subprocess.run(argv, env=ENVIRONMENT, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False)
    # 1: a file is no Python of this version, such as a template or an example of an error.
    if done.returncode not in (0, 1):
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
