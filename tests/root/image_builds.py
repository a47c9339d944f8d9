"""Building images with the launcher, as root types it, and a small recipe that is built in a minute."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

CODE = Path(__file__).resolve().parents[2]
LEERLAB = str(CODE / "leerlab")
# pip's settings and proxies may come from the environment: a build asks the package index that the machine is set to.
ENVIRONMENT = {**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
SMALL = 'name = "tiny"\nsuite = "bookworm"\ndebian = "tiny.debian.json"\npython = []\npackages = ["python3"]\n'


def leerlab(*arguments: object, code: int = 0, seconds: float = 1200) -> str:
    done = subprocess.run(
        [LEERLAB, *map(str, arguments)], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def make_key(folder: Path) -> tuple[Path, Path]:
    """A secret key that only root reads, and its public one that everybody reads."""
    secret, public = folder / "images.key", folder / "images.pub"
    subprocess.run(
        ["/usr/bin/minisign", "-G", "-W", "-s", str(secret), "-p", str(public)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=True,
    )  # fmt: skip
    secret.chmod(0o600)
    public.chmod(0o644)
    return secret, public


def small_recipe(folder: Path) -> Path:
    """A recipe of Python and what Debian calls essential, with the lock of today."""
    recipe = folder / "tiny.toml"
    recipe.write_text(SMALL)
    (folder / "tiny.debian.json").write_text(leerlab("image", "lock", recipe))
    return recipe


def build(recipe: object, out: Path, secret: Path, version: str = "1", seconds: float = 1800) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    out.chmod(0o755)
    built: dict[str, Any] = json.loads(
        leerlab(
            "image", "build", recipe, "--version", version, "--out", out, "--key", secret, "--json", seconds=seconds
        )
    )
    return built
