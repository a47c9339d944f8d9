"""`leerlab test`, `lint`, `docs` and `bench`: for those who change Leerlab."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from base.errors import LeerlabError
from base.paths import Installation
from cli import output

app = typer.Typer()
ACCOUNT = "leerlab"
LEFT_OUT = "slow"
BUILD, HOME = "build", ".home"
NOT_COPIED = (".git", BUILD, HOME, "__pycache__", ".*_cache", "*.egg-info")
PYTEST_USAGE = 4
TAKEN_DOWN_SECONDS = 120.0
# The tests wait more than they compute: one more of them than cores. Those of one file share what they run on, so they
# stay together.
SIDE_BY_SIDE = ("-n", str(min(4, (os.cpu_count() or 1) + 1)), "--dist", "loadfile")


def _run(argv: Sequence[str], code: Path | None = None) -> int:
    """Run a command in the tree, or in the copy of it that the service account works in; gives its exit code."""
    environment = _environment()
    if code is None:
        return subprocess.run(argv, cwd=Installation.current().code, env=environment, check=False).returncode
    account = _account()
    environment |= {
        "HOME": str(code / HOME),
        "LEERLAB_BUILD": str(code / BUILD),
        "LEERLAB_CODE": str(code),
        "LOGNAME": ACCOUNT,
        "PYTHONPATH": str(code),
        "USER": ACCOUNT,
    }
    for name in [name for name in environment if name.startswith("XDG_")]:
        del environment[name]
    # The copy goes away: what is compiled once there saves each of the many programs that the tests start its own.
    del environment["PYTHONDONTWRITEBYTECODE"]
    return subprocess.run(
        argv,
        cwd=code,
        env=environment,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        umask=0o022,
        check=False,
    ).returncode


@contextmanager
def _beside(argv: Sequence[str] | None) -> Iterator[Callable[[], int]]:
    """Run a command in the tree while something else goes on; nothing is run for None.

    Gives a function that waits for its end, prints what it printed, and gives its exit code.
    """
    if argv is None:
        yield lambda: 0
        return
    with tempfile.TemporaryFile("w+") as printed, subprocess.Popen(
        argv, cwd=Installation.current().code, env=_environment(), stdout=printed, stderr=subprocess.STDOUT,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509  this process has no threads
    ) as process:  # fmt: skip

        def ended() -> int:
            code = process.wait()
            printed.seek(0)
            shutil.copyfileobj(printed, sys.stdout)
            sys.stdout.flush()
            return code

        try:
            yield ended
        finally:
            # Of a run that was broken off: pytest takes down what it started. Popen itself would not wait for that.
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TAKEN_DOWN_SECONDS)


def _heed_interrupts() -> None:
    """What a shell starts in the background takes no notice of SIGINT, and neither would what that starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _environment() -> dict[str, str]:
    tree = str(Installation.current().code)
    return {**os.environ, "PYTHONPATH": tree, "PYTHONDONTWRITEBYTECODE": "1"}


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise LeerlabError(
            f"The account {ACCOUNT} does not exist.", do="Start this with ./leerlab, which makes it."
        ) from None


@contextmanager
def _own_copy() -> Iterator[Path | None]:
    """Where the service account may work: a copy of the tree that it owns, for root; else the tree itself, as None.

    The clone may lie where that account cannot read, and what it builds must not become root's. Its build output comes
    back to the tree.
    """
    if os.geteuid() != 0:
        yield None
        return
    tree, account = Installation.current().code, _account()
    with tempfile.TemporaryDirectory(prefix="copy-", dir=os.environ.get("LEERLAB_DATA", account.pw_dir)) as folder:
        code = Path(folder)
        shutil.copytree(tree, code, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED), dirs_exist_ok=True)
        for made in (HOME, BUILD):
            (code / made).mkdir()
        for path in (code, *code.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        try:
            yield code
        finally:
            shutil.copytree(
                code / BUILD, tree / BUILD, dirs_exist_ok=True, ignore=_not_plain, copy_function=shutil.copyfile
            )


def _not_plain(folder: str, names: list[str]) -> list[str]:
    """Links and devices: what ran there was the account's, and root follows no link of its and keeps no mode of its."""
    paths = ((name, Path(folder, name)) for name in names)
    return [name for name, path in paths if path.is_symlink() or not (path.is_file() or path.is_dir())]


def _exit_code(codes: Sequence[int]) -> int:
    """One of ours for those of pytest (https://docs.pytest.org/en/stable/reference/exit-codes.html)."""
    if not any(codes):
        return 0
    return 2 if PYTEST_USAGE in codes else 1


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Everything, the slow tests too.")] = False,
    site: Annotated[
        bool, typer.Option("--site", help="Only the deployment of a whole site on machines made for it; needs root.")
    ] = False,
) -> None:
    """Run the tests; further arguments go to pytest. Started by root, the tests run as the account leerlab."""
    if site:
        _test_site(list(context.args))
        return
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    extra = list(context.args)
    side_by_side = () if extra else SIDE_BY_SIDE
    wanted = [] if everything else [f"not {LEFT_OUT}"]
    is_root = os.geteuid() == 0
    of_root = [*pytest, "-m", " and ".join(["root and not site", *wanted])] if is_root and not extra else None
    # Root's few tests mostly wait, so they run beside the others. The slow ones fill the machine and come after them.
    with _beside(None if everything else of_root) as ended, _own_copy() as copy:
        codes = [_run([*pytest, *side_by_side, "-m", " and ".join(["not root and not site", *wanted]), *extra], copy)]
        codes.append(ended())
    if everything and of_root:
        codes += [_run(of_root), _run(_of_site([]))]
    if not everything:
        output.err.print(f"Left out: tests marked {LEFT_OUT}. ./leerlab test --all runs everything.")
    if not (everything and of_root):
        output.err.print("Left out: a whole site on machines made for it. sudo ./leerlab test --site deploys one.")
    if not is_root:
        output.err.print("Left out: tests marked root, which need root rights; sudo ./leerlab test runs those too.")
    elif extra:
        output.err.print("Left out: tests marked root, because arguments for pytest were given.")
    code = _exit_code(codes)
    if code:
        raise typer.Exit(code)


def _test_site(extra: Sequence[str]) -> None:
    """Deploy a whole site by the playbook, use, upgrade, lose and restore it."""
    if os.geteuid() != 0:
        raise LeerlabError(
            "Machines can be made by root alone.",
            "They have addresses and file systems of their own.",
            "Start it as root: sudo ./leerlab test --site",
        )
    code = _run(_of_site(extra))
    if code:
        raise typer.Exit(_exit_code([code]))


def _of_site(extra: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", "-m", "site", "tests/machines", *extra]


@app.command()
def lint() -> None:
    """Check style, types and layers."""
    checks = (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["lint-imports"],
        ["yamllint", "-s", "."],
    )
    tools = Path(sys.executable).parent
    failed = [argv[0] for argv in checks if _run([str(tools / argv[0]), *argv[1:]])]
    if _lint_playbooks():
        failed.append("ansible-lint")
    if failed:
        raise LeerlabError(f"These checks found something: {', '.join(failed)}.", do="Their findings stand above.")


def _lint_playbooks() -> int:
    """ansible-lint at its strictest profile, in the environment that operators have; asks nothing of any registry."""
    tree, tools = Installation.current().code, Path(os.environ["LEERLAB_ANSIBLE_ENV"], "bin")
    with tempfile.TemporaryDirectory(prefix="ansible-") as home:
        environment = {**os.environ, "PATH": f"{tools}:/usr/bin:/bin", "HOME": home, "ANSIBLE_HOME": home}
        words = [str(tools / "ansible-lint"), "--offline", "--profile", "production", "-q", "."]
        return subprocess.run(words, cwd=tree / "ansible", env=environment, check=False).returncode


@app.command()
def docs() -> None:
    """Write the generated reference pages anew."""
    from cli.ansible_reference import ansible_markdown  # noqa: PLC0415
    from cli.commands import app as whole  # noqa: PLC0415  it imports this module
    from cli.reference import command_markdown  # noqa: PLC0415
    from hub_config.schema import reference_markdown  # noqa: PLC0415  needs every folder's settings

    code = Installation.current().code
    pages = code / "docs/reference"
    for name, text in (
        ("site.md", reference_markdown()),
        ("command.md", command_markdown(whole)),
        ("ansible.md", ansible_markdown(code / "ansible")),
    ):
        (pages / name).write_text(text)
        output.out.print(f"Wrote {pages / name}", markup=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Run one benchmark against its peer and its limit: leerlab bench NAME [--json], or --list."""
    with _own_copy() as copy:
        code = _run([sys.executable, "-m", "bench", *context.args], copy)
    if code:
        raise typer.Exit(2 if code == 2 else 1)
