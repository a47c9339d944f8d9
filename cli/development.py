"""`leerlab test`, `lint`, `docs` and `bench`: for those who change Leerlab."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from base.errors import LeerlabError
from base.paths import Installation
from cli import output

app = typer.Typer()
ACCOUNT = "leerlab"
LEFT_OUT = "slow"


def _run(argv: Sequence[str], as_account: bool = False) -> int:
    """Run a command in the tree; as the service account when root asks for that."""
    code = Installation.current().code
    environment = {**os.environ, "PYTHONPATH": str(code), "PYTHONDONTWRITEBYTECODE": "1"}
    if not (as_account and os.geteuid() == 0):
        return subprocess.run(argv, cwd=code, env=environment, check=False).returncode
    try:
        account = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise LeerlabError(
            f"The account {ACCOUNT} does not exist.", do="Start this with ./leerlab, which makes it."
        ) from None
    environment |= {"HOME": account.pw_dir, "USER": ACCOUNT, "LOGNAME": ACCOUNT}
    environment.pop("XDG_STATE_HOME", None)
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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Everything, the slow tests too.")] = False,
) -> None:
    """Run the tests; further arguments go to pytest. Started by root, the tests run as the account leerlab."""
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    extra = list(context.args)
    wanted = [] if everything else ["not slow"]
    with tempfile.TemporaryDirectory(prefix="ll-", dir="/tmp") as base:
        Path(base).chmod(0o755)
        ordinary = " and ".join(["not root", *wanted])
        results = [_run([*pytest, "-m", ordinary, *extra], as_account=True)]
        if os.geteuid() == 0 and not extra:
            results.append(_run([*pytest, "-m", " and ".join(["root", *wanted])]))
    if not everything:
        output.err.print("Left out: tests marked slow. ./leerlab test --all runs everything.")
    if os.geteuid() != 0:
        output.err.print("Left out: tests marked root, which need root rights; sudo ./leerlab test runs those too.")
    if any(results):
        raise typer.Exit(1)


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
    if failed:
        raise LeerlabError(f"These checks found something: {', '.join(failed)}.", do="Their findings stand above.")


@app.command()
def docs() -> None:
    """Write the generated reference pages anew."""
    from cli.commands import app as whole  # noqa: PLC0415  it imports this module
    from cli.reference import command_markdown  # noqa: PLC0415
    from hub_config.schema import reference_markdown  # noqa: PLC0415  needs every folder's settings

    pages = Installation.current().code / "docs/reference"
    for name, text in (("site.md", reference_markdown()), ("command.md", command_markdown(whole))):
        (pages / name).write_text(text)
        output.out.print(f"Wrote {pages / name}", markup=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(context: typer.Context) -> None:
    """Run one benchmark against its peer and its limit: leerlab bench NAME [--json], or --list."""
    if _run([sys.executable, "-m", "bench", *context.args], as_account=True):
        raise typer.Exit(1)
