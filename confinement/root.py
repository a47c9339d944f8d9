"""A root file system other than the host's, whose software a wall shows; standard library only.

bubblewrap follows symbolic links in what it binds, on the host: a link in the place of one of these would bring a
folder of the host inside.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from confinement.errors import WallRefused

NOTEBOOK = "opt/notebook"
# What programs look up in /etc and what belongs to the software: it comes from where /usr comes from.
ETC_OF_SOFTWARE = (
    "etc/alternatives", "etc/fonts", "etc/ld.so.cache", "etc/mime.types", "etc/ssl/certs", "etc/ssl/openssl.cnf",
)  # fmt: skip
# The time zone is the machine's own, whatever the software.
ETC_OF_HOST = ("etc/localtime",)
_NEEDED = ("usr", "usr/bin", "usr/lib", "usr/lib64", "usr/local")


def software(root: Path | None) -> Iterator[tuple[str, str, bool]]:
    """What of the software a wall shows, read-only: the source outside, the place inside, and whether it must be there.

    Args:
        root: the root file system; None is the host's own.
    """
    base = Path("/") if root is None else root
    yield str(base / "usr"), "/usr", True
    for name in ETC_OF_SOFTWARE:
        yield str(base / name), f"/{name}", False
    for name in ETC_OF_HOST:
        yield f"/{name}", f"/{name}", False
    if root is not None:
        yield str(root / NOTEBOOK), f"/{NOTEBOOK}", False


def check_root(root: Path) -> None:
    """See that a wall can run from a root file system, and takes nothing of the host through it.

    Args:
        root: an absolute path without symbolic links in it.

    Raises:
        WallRefused: something is missing, or a symbolic link stands where a wall takes a folder or file from.
    """
    for name in (*_NEEDED, *ETC_OF_SOFTWARE, NOTEBOOK):
        at = root
        for part in Path(name).parts:
            at /= part
            try:
                mode = os.lstat(at).st_mode
            except FileNotFoundError:
                if name in _NEEDED:
                    raise WallRefused(
                        f"{root} is no root file system: /{name} is not in it.", "Nothing was started."
                    ) from None
                break
            if not stat.S_ISDIR(mode) and not (stat.S_ISREG(mode) and at == root / name and name not in _NEEDED):
                raise WallRefused(
                    f"In {root} something other than a folder or a file stands at /{at.relative_to(root)}.",
                    "A link there could lead to anything on this machine, so nothing was started.",
                    "Unpack the image anew, or build it anew.",
                )
    if not os.path.lexists(root / "usr/bin/python3"):
        raise WallRefused(f"{root} has no /usr/bin/python3, which starts every wall.", "Nothing was started.")
