"""A clone with the real launcher and the real command, and very small packages from real sources on this disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from images.bundle.debian import write_index

CODE = Path(__file__).resolve().parents[3]
SECONDS = 60
# Prints what the launcher hands over, and nothing else.
COMMAND = "import os, sys\nprint('tiny', *sys.argv[1:], os.environ['LEERLAB_HUB_ENV'])\n"
# The launcher needs git to make a bundle, and finds it installed.
DEBS = (
    "Package: tiny-base\nVersion: 1\nEssential: yes", "Package: apt\nVersion: 2", "Package: tiny-lib\nVersion: 1:1.0-1",
    "Package: git\nVersion: 9", "Package: tiny-tool\nVersion: 3\nDepends: tiny-lib (>= 1:1)",
    "Package: tiny-unwanted\nVersion: 4",
)  # fmt: skip
ROLES = "site:\n  - tiny-tool\nbundle:\n  - git\ntest:\n  - tiny-unwanted\n"
# Locks that a bundle holds, and those that it holds on request.
WANTED = ("hub", "notebook", "catalogue", "assistant", "image", "ansible", "torch-cpu")
UNWANTED = ("development", "torch-cuda")
PROXY_LOCK = {"name": "tiny", "lockfileVersion": 3, "packages": {"": {"name": "tiny"}}}


@dataclass(frozen=True)
class TinyClone:
    """The clone and where its packages come from.

    Args:
        folder: all of this lies in it.
        tree: the clone.
    """

    folder: Path
    tree: Path

    @property
    def environment(self) -> dict[str, str]:
        """Leads apt and pip to the sources on this disk, and names the installation."""
        names = ("CODE", "HUB_ENV", "NOTEBOOK_ENV", "PROXY", "CATALOGUE_ENV", "ASSISTANT_ENV")
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(CODE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "APT_CONFIG": str(self.folder / "apt.conf"), "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"), "PIP_NO_CACHE_DIR": "1",
            **{f"LEERLAB_{name}": str(self.tree if name == "CODE" else self.folder / name) for name in names},
        }  # fmt: skip

    def argv(self, file: Path) -> list[str]:
        """`leerlab bundle FILE`, as the launcher calls it."""
        return [sys.executable, "-m", "cli", "bundle", str(file), "--json"]

    def bundle(self, file: Path, *before: str) -> subprocess.CompletedProcess[str]:
        """Make the bundle; `before` is put in front of the command."""
        return run([*before, *self.argv(file)], self.environment, cwd=CODE)

    def commit(self) -> None:
        """Put all of the tree in a commit."""
        who = ("-c", "user.name=Tiny", "-c", "user.email=tiny@example.org", "-c", "commit.gpgsign=false")
        for words in (("add", "--all", "--force"), (*who, "commit", "-q", "-m", "tiny")):
            git = run(["git", "-C", str(self.tree), *words], {"PATH": os.environ["PATH"], "HOME": str(self.folder)})
            assert git.returncode == 0, git.stderr


def run(argv: list[str], environment: dict[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run to the end, bounded."""
    return subprocess.run(
        argv, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip


def make_clone(folder: Path) -> TinyClone:
    """Make all of it below `folder`."""
    clone = TinyClone(folder, folder / "clone")
    _debian(folder)
    wheel = _wheel(folder / "wheels")
    lock = f"tiny==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    for path, text in {
        "pyproject.toml": '[project]\nname = "tiny"\nversion = "0.0.1"\n',
        "cli/__init__.py": "", "cli/__main__.py": COMMAND, "images/debian.yaml": ROLES,
        "images/proxy/package.json": json.dumps({"name": "tiny"}),
        "images/proxy/package-lock.json": json.dumps(PROXY_LOCK),
        "images/test-tools/package-lock.json": json.dumps(PROXY_LOCK),
        **{f"images/locks/{name}.txt": lock for name in WANTED},
        **{f"images/locks/{name}.txt": "missing==1.0 --hash=sha256:00\n" for name in UNWANTED},
    }.items():  # fmt: skip
        file = clone.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    shutil.copy(CODE / "leerlab", clone.tree / "leerlab")
    (clone.tree / "a link").symlink_to("pyproject.toml")
    run(["git", "init", "-q", str(clone.tree)], {"PATH": os.environ["PATH"], "HOME": str(folder)})
    clone.commit()
    return clone


def _debian(folder: Path) -> None:
    repository = folder / "debian"
    (repository / "pool").mkdir(parents=True)
    for fields in DEBS:
        build = folder / "build"
        (build / "DEBIAN").mkdir(parents=True)
        # dpkg-deb refuses another mode, whatever the umask here is.
        (build / "DEBIAN").chmod(0o755)
        more = "Architecture: all\nMaintainer: Tiny <tiny@example.org>\nDescription: tiny\n"
        (build / "DEBIAN/control").write_text(f"{fields}\n{more}")
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", str(build), str(repository / "pool")],
            capture_output=True, timeout=SECONDS, check=True,
        )  # fmt: skip
        shutil.rmtree(build)
    write_index(repository, 0)
    release = repository / "Release"
    release.write_text(release.read_text().replace("Origin: Leerlab", "Origin: Debian"))
    (folder / "sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (folder / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n'
    )


def _wheel(folder: Path) -> Path:
    folder.mkdir()
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    about = {
        "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        # ZipInfo's own date, so that every clone has the same lock.
        archive.writestr(zipfile.ZipInfo("tiny.py"), "")
        for name, text in about.items():
            archive.writestr(zipfile.ZipInfo(f"tiny-1.0.dist-info/{name}"), text)
    return wheel
