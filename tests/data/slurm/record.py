"""Records what one version of Slurm prints of the same jobs and nodes, in each form that Leerlab reads.

    python tests/data/slurm/record.py FOLDER [--programs FOLDER] [--json v0.0.42]... [--no-cgroups]

It starts an embedded Slurm with the programs of `--programs` (default: Debian's own places), submits jobs that wait and
end in different ways, and writes `squeue.txt`, `nodes.txt` and, for each data parser, `squeue.<parser>.json` and
`nodes.<parser>.json` to FOLDER. All files of a folder tell of the same moment: it is asked again until the texts before
and after are the same. Run it as an ordinary account.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import pwd
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from cluster import embedded
from cluster.answers import QueueFormat
from cluster.commands import Slurm

CONFTEST = Path(__file__).parents[2] / "integration/cluster/conftest.py"
OWN = 990
"""The number of the account in the recordings, in place of the one that recorded."""
MARK = "0f1e2d3c4b5a6978"
SLEEP = "#!/bin/sh\nexec sleep 600\n"
JOBS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("runs", ("--partition=gpu", "--gres=gpu:2", "--comment=0123456789ab:1111111111111111"), SLEEP),
    ("waits for resources", ("--partition=gpu", "--gres=gpu:1", "--comment=0123456789ab:2222222222222222"), SLEEP),
    ("waits behind", ("--partition=gpu", "--gres=gpu:1", "--nice=10"), SLEEP),
    ("held", ("--hold", "--comment=<mark>8|mark|RUNNING"), SLEEP),
    ("later", ("--begin=now+1hour",), SLEEP),
    ('naïve "name" with |, é and \\', ("--comment=%A 'quoted'",), SLEEP),
    ("two partitions", ("--hold", "--partition=cpu,gpu"), SLEEP),
    ("array", ("--hold", "--array=1-3"), SLEEP),
    ("exits", (), "#!/bin/sh\nexit 3\n"),
    ("is signalled", (), "#!/bin/sh\nkill -9 $$\n"),
    ("ends well", (), "#!/bin/sh\nexit 0\n"),
)


def conftest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recording_conftest", CONFTEST)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["recording_conftest"] = module
    spec.loader.exec_module(module)
    return module


class Recorder:
    """Asks one running Slurm, and writes what it says without this machine's names."""

    def __init__(self, conf: Path, programs: Path, folder: Path) -> None:
        self._conf, self._programs, self._folder = conf, programs, folder

    def ask(
        self, program: str, arguments: Sequence[str], more: Mapping[str, str] | None = None, given: str | None = None
    ) -> str:
        environment = {
            "SLURM_CONF": str(self._conf), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/",
            **({} if program == "sbatch" else {"SLURM_TIME_FORMAT": "%s"}), **(more or {}),
        }  # fmt: skip
        done = subprocess.run(
            [str(self._programs / program), *arguments], env=environment, input=given, capture_output=True, text=True,
            timeout=30, check=False, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, (program, arguments, done.stderr)
        return done.stdout

    def queue(self) -> str:
        return self.ask(
            "squeue", ["--noheader", "--states=all"], {"SQUEUE_FORMAT": QueueFormat(MARK, os.geteuid()).format}
        )

    def exit_codes(self) -> str:
        return self.ask("squeue", ["--noheader", "--states=all", "--Format=jobid:20,exit_code:20"])

    def nodes(self) -> str:
        return self.ask("scontrol", ["show", "nodes", "--details", "--oneliner"])

    def write(self, name: str, text: str) -> None:
        for own, shown in (
            (str(self._conf.parents[1]), "/site"), (platform.release(), "6.1.0"), (platform.version(), "#1"),
            (f'"{platform.node()}"', '"hub"'), (pwd.getpwuid(os.geteuid()).pw_name, "leerlab"),
        ):  # fmt: skip
            text = text.replace(own, shown).replace(own.replace("/", "\\/"), shown)
        (self._folder / name).write_text(text)

    def text_of_own(self, text: str) -> str:
        return text.replace(f"|{MARK}|{os.geteuid()}|{MARK}|", f"|{MARK}|{OWN}|{MARK}|")

    def once(self, parsers: Sequence[str]) -> bool:
        """Record everything; whether nothing changed meanwhile."""
        before = (self.queue(), self.nodes())
        compact = {"SLURM_JSON": "compact"}
        found = {
            f"{name}.{parser}.json": self.ask(program, [*arguments, f"--json={parser}"], compact)
            for parser in parsers
            for name, program, arguments in (
                ("squeue", "squeue", ["--states=all"]),
                ("nodes", "scontrol", ["show", "nodes"]),
            )
        }
        codes = self.exit_codes()
        if (self.queue(), self.nodes()) != before:
            return False
        for name, text in found.items():
            told = json.loads(text)
            for job in told.get("jobs", []):
                job["user_id"], job["group_id"] = OWN, OWN
            self.write(name, json.dumps(told, separators=(",", ":"), ensure_ascii=False) + "\n")
        self.write("squeue.txt", self.text_of_own(before[0]))
        self.write("nodes.txt", before[1])
        self.write("exit_codes.txt", codes)
        self.write("version.txt", self.ask("squeue", ["--version"]))
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--programs", type=Path)
    parser.add_argument("--json", action="append", default=[])
    parser.add_argument("--no-cgroups", action="store_true", help="for a Slurm that would not start without them")
    given = parser.parse_args()
    if given.programs:
        embedded.MUNGED, embedded.SLURMCTLD, embedded.SLURMD = (
            given.programs / name for name in ("munged", "slurmctld", "slurmd")
        )
        Slurm.__init__.__kwdefaults__["commands"] = given.programs
    given.folder.mkdir(parents=True, exist_ok=True)

    def change(state: object) -> None:
        if given.no_cgroups:
            (state.generated / "cgroup.conf").write_text("CgroupPlugin=disabled\n")  # type: ignore[attr-defined]

    with conftest().running_slurm(change=change) as running:
        recorder = Recorder(embedded.slurm_conf(running.state), given.programs or Path("/usr/bin"), given.folder)
        for name, arguments, script in JOBS:
            chosen = ["--parsable", "--output=/dev/null", "--time=30", "--mem=64", f"--job-name={name}", *arguments]
            recorder.ask("sbatch", chosen, given=script)
        for _ in range(60):
            # Slurm needs a moment to look at the queue and to say why each job waits.
            time.sleep(1)
            seen = recorder.queue()
            rests = seen.count("FAILED") == 2 and "COMPLETING" not in seen
            if rests and "Resources" in seen and "COMPLETED" in seen and recorder.once(given.json):
                return
        sys.exit("the queue never came to rest")


if __name__ == "__main__":
    main()
