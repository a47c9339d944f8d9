"""The backup's script waits while another machine of the site has the repository, and for nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "ansible/roles/backup/templates/leerlab-backup.j2"
# A restic that says this so often before it does its work.
RESTIC = """#!/bin/sh
tried=$(($(cat {folder}/tried 2>/dev/null || echo 0) + 1))
echo $tried >{folder}/tried
[ $tried -gt {refusals} ] || {{ echo '{said}' >&2; exit 1; }}
echo "snapshot of $*"
echo 'a warning' >&2
"""
LOCKED = "unable to create lock in backend: repository is already locked exclusively by PID 5327 on control1"


def backed_up(folder: Path, said: str, refusals: int) -> tuple[subprocess.CompletedProcess[str], int]:
    """What the script's own way to restic gives, and how often restic was tried."""
    text = SCRIPT.read_text()
    begin = text.index("restic() {")
    own = text[begin : text.index("\n}\n", begin) + 3]
    for name, program in (
        ("restic", RESTIC.format(folder=folder, refusals=refusals, said=said)),
        ("sleep", "#!/bin/sh\n"),
    ):
        (folder / name).write_text(program)
        (folder / name).chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -euo pipefail\n{own}\nrestic backup here || exit 7"],
        env={"PATH": f"{folder}:/usr/bin:/bin"}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return done, int((folder / "tried").read_text())


@pytest.mark.fault
def test_it_waits_for_another_machines_lock_and_passes_on_what_restic_says(tmp_path: Path) -> None:
    done, tried = backed_up(tmp_path, LOCKED, 3)
    assert (done.returncode, done.stdout, tried) == (0, "snapshot of backup here\n", 4)


@pytest.mark.fault
def test_a_lock_that_stays_ends_the_backup_with_its_reason(tmp_path: Path) -> None:
    done, tried = backed_up(tmp_path, LOCKED, 1000)
    assert done.returncode == 7 and LOCKED in done.stderr and 100 < tried < 1000


@pytest.mark.fault
def test_any_other_failure_is_told_at_once(tmp_path: Path) -> None:
    done, tried = backed_up(tmp_path, "Fatal: wrong password or no key found", 1000)
    assert (done.returncode, tried) == (7, 1) and "wrong password" in done.stderr
