"""A process that imports what notebooks begin with, waits, and becomes the kernel of the first one.

Started as `python -m leerlab_lab.warm.waiting SOCKET MODULE...` with one end of a socket pair. One JSON line
`{"argv", "folder", "environment"}` asks it to become a kernel. It answers `1` and is one, or answers `0` and ends,
where a kernel that starts anew could find another module under a name that is imported here already.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import select
import site
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

# What every kernel imports, whatever its notebook does, most of it only when it starts.
_ALWAYS = (
    "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.debugger", "IPython.core.interactiveshell",
    "IPython.core.completerlib", "IPython.extensions.storemagic", "tornado.queues", "tornado.platform.asyncio",
    "zmq.asyncio", "faulthandler", "psutil", "sqlite3",
)  # fmt: skip


def wait(line: socket.socket, modules: list[str]) -> dict[str, Any] | None:
    """Import one module after another until somebody asks, and wait for that.

    Args:
        line: from where the order comes.
        modules: names of modules; one that cannot be imported fails again in the notebook, where it is seen.

    Returns:
        The order, or None when the other end is closed.
    """
    for name in (*_ALWAYS, *modules):
        if select.select([line], [], [], 0)[0]:
            break
        # A package may raise anything while it is imported; the notebook's own import raises it again.
        with suppress(Exception):
            importlib.import_module(name)
    with line.makefile("rb") as orders:
        order = orders.readline()
    return dict(json.loads(order)) if order.endswith(b"\n") else None


def hidden(folder: Path) -> set[str]:
    """Modules of this folder that a kernel would not find any more, because another one of the name is imported.

    Args:
        folder: the notebook's; Python looks there first.
    """
    try:
        names = {path.name.partition(".")[0] for path in folder.iterdir() if _is_module(path)}
    except OSError:
        return set()
    return names & {name.partition(".")[0] for name in sys.modules}


def _is_module(path: Path) -> bool:
    # A folder without `__init__.py` comes last in Python's search: it hides nothing.
    return path.suffix in (".py", ".so") or (path / "__init__.py").is_file()


def user_packages() -> tuple[str, int]:
    """Where the learner's own packages are, and when one was installed or removed last."""
    place = site.getusersitepackages()
    try:
        return place, Path(place).stat().st_mtime_ns
    except OSError:
        return place, 0


def become(order: dict[str, Any], given: Mapping[str, str]) -> None:
    """Be a kernel, as `python -m ipykernel_launcher` would be with these arguments, there, in that environment.

    Args:
        order: see the module's own text.
        given: the variables that this process began with; what packages have set since, they set in every kernel.
    """
    from ipykernel import kernelapp  # noqa: PLC0415  it is imported already, as late as a kernel does it

    made = {name: value for name, value in os.environ.items() if given.get(name) != value}
    os.environ.clear()
    os.environ.update({**made, **order["environment"]})
    os.chdir(order["folder"])
    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv = [str(launcher.origin if launcher else "ipykernel_launcher"), *order["argv"]]
    kernelapp.launch_new_instance()


def main() -> None:
    """See the module's own text."""
    # Nothing is imported from where this was started; a kernel looks in its own folder first, as every kernel does.
    del sys.path[0]
    line, modules = socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]
    before, given = user_packages(), dict(os.environ)
    order = wait(line, modules)
    if order is None:
        return
    same = user_packages() == before and not hidden(Path(order["folder"]))
    line.sendall(b"1\n" if same else b"0\n")
    line.close()
    if same:
        become(order, given)


if __name__ == "__main__":
    main()
