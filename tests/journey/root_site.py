"""A site that root starts with the launcher itself, as root types it; it runs from a wheel, as the account leerlab."""

from __future__ import annotations

import json
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from base.ports import free_ports

CODE = Path(__file__).resolve().parents[2]


def site_of_root(name: str, **sections: object) -> Iterator[Callable[[], str]]:
    """Gives addresses with a fresh one-time key; the site is gone afterwards.

    Args:
        name: of the site.
        sections: sections of site.yaml in place of the demo site's.
    """
    with tempfile.TemporaryDirectory(prefix="ll-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        description = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
        description["site"]["name"] = name
        description["hub"]["port"] = free_ports(1)[0]
        description.update(sections)
        file = Path(folder, "site.yaml")
        file.write_text(yaml.safe_dump(description))

        def leerlab(command: str) -> str:
            done = subprocess.run(
                [str(CODE / "leerlab"), command, "--json", "--site", str(file)],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1500, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        try:
            leerlab("up")
            yield lambda: str(json.loads(leerlab("key"))["login_link"])
        finally:
            leerlab("down")
            shutil.rmtree(Path(pwd.getpwnam("leerlab").pw_dir) / ".local/state/leerlab" / name, ignore_errors=True)
