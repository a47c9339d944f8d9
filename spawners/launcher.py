"""Starts one person's walled jobs as that person's own unix account: the only way from the hub to other accounts.

The hub runs it as `sudo -n -u <account> /usr/bin/python3 -I -S .../spawners/launcher.py`, never as root. It takes one
order as JSON on standard input, checks every value, and gives one JSON object on standard output. What may be asked of
it stands in a file of root's (`POLICY`), not in the order: whoever has taken over the hub can start nothing but a
walled notebook server, of accounts of the site's group only. The job script is made here. Standard library only.

Exit codes: 0 the order was carried out, or Slurm did not do it (the answer says which), 2 the order is not one that
may be given, 3 this account or this machine may not be used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parent.parent))

from cluster.errors import InvalidRequest
from cluster.request import JobRequest
from cluster.script import job_script
from confinement.errors import WallInvalid
from confinement.wall import Wall
from spawners.job import VARIABLE, Task

POLICY = Path("/etc/leerlab/launcher.json")
PYTHON = "/usr/bin/python3"
OWN = "leerlab"
"""Folder in an account's home that is Leerlab's: `home` is the home inside the wall, `jobs/<start>` are the logs."""
LOG, SLURM_LOG, USE = "server.log", "slurm.log", "use.jsonl"
LARGEST_ORDER = 2**20
LARGEST_READ = 16 * 1024
MOST_JOBS = 200
KEPT_SECONDS = 7 * 86400.0
"""How long a job's logs stay after the last line in them."""
COMMAND_SECONDS = 20.0

_START = re.compile(r"[0-9a-f]{16}")
_HUB = re.compile(r"[0-9a-f]{12}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{20,100}")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]{1,100}){4,12}")
_BASE = re.compile(r"(?:/[A-Za-z0-9@._~%+-]{1,200}){0,8}/")
_CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotAllowed(Exception):
    """This account or this machine may not be used."""


class NotAnOrder(Exception):
    """The order is not one that may be given."""


@dataclass(frozen=True)
class Policy:
    """What the launcher may do on this machine.

    Args:
        group: unix group of all accounts that it may run as.
        first_uid, last_uid: the numbers that they have.
        state: the site's state folder.
        installed: folder of code and environments, root's own.
        slurm_conf: Slurm's configuration.
        commands: folder of sbatch and scancel.
        publish_on: network in which servers are offered, behind TLS; or an address of the hub's own machine.
        readable: further folders that walls may show, read-only.
    """

    group: str
    first_uid: int
    last_uid: int
    state: Path
    installed: Path
    slurm_conf: Path
    commands: Path
    publish_on: str
    readable: tuple[Path, ...] = ()

    @classmethod
    def read(cls, path: Path = POLICY) -> Policy:
        """Read root's own file.

        Raises:
            NotAllowed: it is not there, is not root's alone to change, or is not complete.
        """
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | _CAREFUL), "rb") as file:
                about = os.fstat(file.fileno())
                others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
                if about.st_uid != 0 or others or not stat.S_ISREG(about.st_mode):
                    raise NotAllowed(f"{path} can be changed by others than root: chown root:root, chmod 0644.")
                raw = json.loads(file.read(LARGEST_ORDER))
            paths = {name: Path(raw[name]) for name in ("state", "installed", "slurm_conf", "commands")}
            policy = cls(
                str(raw["group"]), int(raw["first_uid"]), int(raw["last_uid"]), **paths,
                publish_on=str(raw["publish_on"]), readable=tuple(Path(one) for one in raw.get("readable", ())),
            )  # fmt: skip
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise NotAllowed(f"{path} does not say what may be done: {error!r}.") from error
        if not all(one.is_absolute() for one in (*paths.values(), *policy.readable)) or policy.first_uid < 1000:
            raise NotAllowed(f"{path} is out of bounds: absolute paths, and numbers of accounts from 1000.")
        return policy


@dataclass(frozen=True)
class Account:
    """The account that this process is.

    Args:
        name: its name.
        uid: its number.
        root: Leerlab's folder in its home.
    """

    name: str
    uid: int
    root: Path

    @classmethod
    def current(cls, policy: Policy) -> Account:
        """This process's account, if the policy allows it.

        Raises:
            NotAllowed: it is root, out of the range, not of the group, or has no home of its own.
        """
        # Only here: they are not needed to check an order.
        import grp  # noqa: PLC0415
        import pwd  # noqa: PLC0415

        real, effective, saved = os.getresuid()
        if not policy.first_uid <= real <= policy.last_uid or {real, effective, saved} != {real}:
            raise NotAllowed(
                f"Account number {effective} is not one of {policy.first_uid} to {policy.last_uid}, as which jobs of "
                "people run."
            )
        try:
            group, about = grp.getgrnam(policy.group), pwd.getpwuid(real)
        except KeyError as error:
            raise NotAllowed(f"This machine does not know {error}.") from error
        if group.gr_gid not in {os.getgid(), *os.getgroups()}:
            raise NotAllowed(f"{about.pw_name} is not in the group {policy.group}.")
        home = Path(about.pw_dir)
        try:
            owner = home.stat().st_uid
        except OSError as error:
            raise NotAllowed(f"The home of {about.pw_name} is not there: {error}.") from error
        if owner != real:
            raise NotAllowed(f"The home {home} is not {about.pw_name}'s own.")
        return cls(about.pw_name, real, home / OWN)

    @property
    def home(self) -> Path:
        """The home inside the wall."""
        return self.root / "home"

    @property
    def jobs(self) -> Path:
        """One folder a start, which no wall shows."""
        return self.root / "jobs"

    def make(self) -> None:
        """The folders, private to the account; a link in the place of one is refused.

        Raises:
            NotAllowed: they cannot be made, or something else is in their place.
        """
        try:
            for folder in (self.root, self.home, self.jobs):
                folder.mkdir(mode=0o700, exist_ok=True)
                about = folder.lstat()
                if not stat.S_ISDIR(about.st_mode) or about.st_uid != self.uid:
                    raise NotAllowed(f"{folder} is not a folder of {self.name}'s own.")
                if about.st_mode & 0o077:
                    folder.chmod(0o700)
        except OSError as error:
            raise NotAllowed(f"The folders of {self.name} cannot be made: {error}.") from error


# -- orders

Check = Callable[[object], bool]


def _text(pattern: re.Pattern[str] | None = None, most: int = 4096) -> Check:
    return lambda value: (
        isinstance(value, str) and len(value) <= most and (pattern is None or pattern.fullmatch(value) is not None)
    )


def _whole(least: int, most: int) -> Check:
    return lambda value: type(value) is int and least <= value <= most


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _list(check: Check, most: int) -> Check:
    return lambda value: isinstance(value, list) and 0 < len(value) <= most and all(map(check, value))


_WORD = _text(most=200)
JOB: Mapping[str, Check] = {
    "partition": _WORD, "cpus": _whole(1, 4096), "memory": _whole(2**20, 2**50), "seconds": _whole(60, 40 * 86400),
    "gpus": _whole(0, 64), "gpu_type": _or_none(_WORD), "shards": _whole(0, 4096), "qos": _or_none(_WORD),
    "reservation": _or_none(_WORD), "account": _or_none(_WORD),
}  # fmt: skip
TASK: Mapping[str, Check] = {
    "wall": _text(most=LARGEST_ORDER), "report_path": _text(_PATH), "secret": _text(_SECRET), "base": _text(_BASE),
    "log_limit": _whole(4096, 2**30), "home_size": _or_none(_whole(2**20, 2**60)),
}  # fmt: skip
ORDERS: Mapping[str, Mapping[str, Check]] = {
    "submit": {
        "start": _text(_START), "hub": _text(_HUB), "job": lambda value: isinstance(value, dict),
        "task": lambda value: isinstance(value, dict),
    },
    "cancel": {"jobs": _list(_whole(1, 2**31), MOST_JOBS)},
    "read": {"starts": _list(_text(_START), MOST_JOBS), "file": lambda value: value in (LOG, SLURM_LOG, USE)},
}  # fmt: skip
"""The schema of orders: for each value of `order`, exactly these keys, each with its check."""


def parse(raw: bytes) -> dict[str, Any]:
    """One order.

    Raises:
        NotAnOrder: anything else than one JSON object that fits the schema.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in items}) != len(items):
            raise ValueError("a key twice")
        return dict(items)

    def refuse(text: str) -> Any:
        raise ValueError(f"{text[:20]} is no number of an order")

    if len(raw) > LARGEST_ORDER:
        raise NotAnOrder("The order is too long.")
    try:
        order = json.loads(raw.decode(), object_pairs_hook=pairs, parse_float=refuse, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise NotAnOrder(f"The order is not JSON: {error}.") from error
    if not isinstance(order, dict) or not isinstance(order.get("order"), str) or order["order"] not in ORDERS:
        raise NotAnOrder(f"There are the orders {', '.join(ORDERS)}.")
    _fit({key: value for key, value in order.items() if key != "order"}, ORDERS[order["order"]], "The order")
    if order["order"] == "submit":
        _fit(order["job"], JOB, "job")
        _fit(order["task"], TASK, "task")
    return order


def _fit(given: Mapping[str, Any], schema: Mapping[str, Check], what: str) -> None:
    if set(given) != set(schema):
        wrong = sorted(set(given) ^ set(schema))
        raise NotAnOrder(f"{what} has exactly the keys {', '.join(schema)}, so not: {wrong[0][:40]!r}.")
    for key, check in schema.items():
        if not check(given[key]):
            # What was given may be secret.
            raise NotAnOrder(f"{what}.{key} is out of bounds.")


def walled(text: str, policy: Policy, account: Account) -> Wall:
    """The wall of an order, with the account's own home; only what the policy allows can be seen and reached from it.

    Raises:
        NotAnOrder: it shows or reaches anything else.
    """
    try:
        wall = Wall.from_json(text)
    except (WallInvalid, RecursionError) as error:
        raise NotAnOrder(f"task.wall: {error}") from error
    if wall.seccomp != policy.state / "generated" / "seccomp.bpf":
        raise NotAnOrder("task.wall.seccomp is not the site's filter.")
    if wall.nested:
        raise NotAnOrder("task.wall.nested is true: no server makes walls inside its own.")
    if wall.devices:
        raise NotAnOrder("task.wall.devices is not empty: Slurm says which devices a job has.")
    run = str(policy.state / "run")
    for relay in wall.relays:
        target = relay.target()
        if not isinstance(target, str) or os.path.dirname(target) != run:  # noqa: PTH120  a string without a file
            raise NotAnOrder("task.wall.relays leads elsewhere than to the site's own sockets.")
    shown = (policy.installed, policy.state / "catalogue", *policy.readable)
    for bind in wall.binds:
        if bind.writable or not _below(bind.source, shown):
            raise NotAnOrder(f"task.wall.binds: {bind.source} may not be shown, or not so that it can be changed.")
    if wall.root is not None and not _below(wall.root, (policy.state / "images", policy.installed)):
        raise NotAnOrder("task.wall.root is not an image of the site.")
    return replace(wall, home=account.home)


def _below(path: Path, folders: tuple[Path, ...]) -> bool:
    """Whether a path lies below one of these folders, also where its links lead."""
    return any(path.is_relative_to(one) for one in folders) and any(
        path.resolve().is_relative_to(one.resolve()) for one in folders
    )


def request_of(order: Mapping[str, Any], policy: Policy, account: Account, launcher: Path) -> JobRequest:
    """The job of an order.

    Raises:
        NotAnOrder: a value could mean something else to Slurm or to the wall.
    """
    start, raw, task = order["start"], order["job"], order["task"]
    if not task["report_path"].endswith(f"/api/leerlab/starts/{start}"):
        raise NotAnOrder("task.report_path is not that of the start.")
    folder = account.jobs / start
    given = Task(
        wall=walled(task["wall"], policy, account),
        report_to=f"unix:{policy.state / 'run' / 'hub-api.sock'}",
        report_path=task["report_path"],
        secret=task["secret"],
        base=task["base"],
        publish_on=policy.publish_on,
        log=folder / LOG,
        log_limit=task["log_limit"],
        use=folder / USE,
        tls="/" in policy.publish_on,
        home_size=task["home_size"],
    )
    kept = {key: value for key, value in raw.items() if key not in ("seconds", "memory")}
    try:
        return JobRequest(
            name="leerlab-server",
            comment=f"{order['hub']}:{start}:{account.uid}",
            memory=raw["memory"],
            time=timedelta(seconds=raw["seconds"]),
            script=job_script((PYTHON, "-I", "-S", str(launcher.with_name("job.py")))),
            output=folder / SLURM_LOG,
            environment={VARIABLE: given.to_json()},
            **kept,
        )
    except InvalidRequest as error:
        raise NotAnOrder(str(error)) from error


# -- what is done


def submit(order: Mapping[str, Any], policy: Policy, account: Account) -> dict[str, Any]:
    """Hand the job to Slurm."""
    request = request_of(order, policy, account, Path(__file__).resolve())
    account.make()
    forget_old(account.jobs, time.time() - KEPT_SECONDS)
    folder = account.jobs / order["start"]
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        raise NotAnOrder("This start has a job already, or had one.") from error
    return _slurm(policy, "sbatch", request.arguments(), dict(request.environment), request.script)


def cancel(order: Mapping[str, Any], policy: Policy, _account: Account) -> dict[str, Any]:
    """Have jobs of this account end; Slurm refuses those of others."""
    return _slurm(policy, "scancel", [str(number) for number in order["jobs"]], {}, "")


def read(order: Mapping[str, Any], _policy: Policy, account: Account) -> dict[str, Any]:
    """The ends of one file of several starts; what is not there is left out."""
    texts = {}
    for start in order["starts"]:
        with suppress(OSError):
            texts[start] = _end_of(account.jobs / start / order["file"])
    return {"texts": texts}


ACTIONS = {"submit": submit, "cancel": cancel, "read": read}


def _end_of(path: Path) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | _CAREFUL), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise OSError("not a file")
        file.seek(max(0, about.st_size - LARGEST_READ))
        return file.read(LARGEST_READ).decode(errors="replace")


def forget_old(jobs: Path, before: float) -> None:
    """Remove the folders of starts in which nothing was written since a moment.

    Args:
        jobs: the account's folder of them; what is not named like a start is left alone.
        before: seconds since 1970.
    """
    for folder in jobs.iterdir():
        with suppress(OSError):
            if not _START.fullmatch(folder.name) or folder.is_symlink():
                continue
            if max(path.lstat().st_mtime for path in (folder, *folder.iterdir())) < before:
                shutil.rmtree(folder)


def _slurm(policy: Policy, program: str, words: list[str], extra: dict[str, str], text: str) -> dict[str, Any]:
    """Run a command of Slurm; its own output goes to the hub, which knows how to read it."""
    environment = {"SLURM_CONF": str(policy.slurm_conf), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **extra}
    try:
        done = subprocess.run(
            [str(policy.commands / program), *words], env=environment, cwd="/", input=text, capture_output=True,
            text=True, errors="replace", timeout=COMMAND_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"silent": f"{type(error).__name__}: {program}"}
    return {"code": done.returncode, "stdout": done.stdout[-LARGEST_READ:], "stderr": done.stderr[-LARGEST_READ:]}


def main() -> int:
    """Carry out one order."""
    os.umask(0o077)
    try:
        policy = Policy.read()
        account = Account.current(policy)
        order = parse(sys.stdin.buffer.read(LARGEST_ORDER + 1))
        answer = ACTIONS[order["order"]](order, policy, account)
    except NotAnOrder as error:
        return _say({"error": str(error)}, 2)
    except NotAllowed as error:
        return _say({"error": str(error)}, 3)
    return _say(answer, 0)


def _say(answer: Mapping[str, Any], code: int) -> int:
    sys.stdout.write(json.dumps(answer) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
