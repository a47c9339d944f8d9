"""`leerlab accounts`: unix accounts as which people's own servers run, on a site with `unix_accounts:`."""

from __future__ import annotations

import asyncio
import pwd
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from base.errors import InputError
from cli import output
from cli.site import JsonOption, SiteOption, read_site
from cluster.unix_accounts import DirectoryAccounts, MadeAccounts
from hub_config.audit import existing_ledger
from hub_config.site import Site
from hub_config.unix_accounts import accounts_of_people, old_homes
from hub_config.unix_accounts_files import files, make
from ledger.unix_accounts import UnixAccountLedger
from spawners.launcher import OWN

app = typer.Typer(
    name="accounts",
    help="Unix accounts as which people's own servers run.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def with_accounts(site: Site) -> MadeAccounts | DirectoryAccounts:
    """The section unix_accounts.

    Raises:
        InputError: the site has none.
    """
    if site.unix_accounts is None:
        raise InputError("This site has no unix_accounts: everything runs as its one account.", do="Add the section.")
    return site.unix_accounts


@app.command("list")
def list_accounts(site: SiteOption = None, json: JsonOption = False) -> None:
    """Say which account was given to whom; people by their pseudonyms."""
    settings, _, state = read_site(site)
    with_accounts(settings)
    with existing_ledger(settings, state) as ledger:
        given = UnixAccountLedger(ledger).all()
    if json:
        output.print_json([{"person": person, "account": name} for person, name in given.items()])
        return
    table = Table("account", "person", box=None)
    for person, name in given.items():
        table.add_row(name, person)
    output.out.print(table if given else "No account has been given yet.")


@app.command()
def moves(site: SiteOption = None) -> None:
    """Print the commands with which root moves homes from before unix_accounts to their people's accounts.

    Whoever has none is given one. Nothing is moved.
    """
    settings, _, state = read_site(site)
    with_accounts(settings)
    with existing_ledger(settings, state) as ledger:
        people = accounts_of_people(settings, ledger)
        assert people is not None
        for old in old_homes(state):
            account = asyncio.run(people.of(old.name))
            root = Path(pwd.getpwnam(account.name).pw_dir) / OWN
            into, group = root / "home", with_accounts(settings).group
            words = (
                ["install", "-d", "-m", "0700", "-o", account.name, "-g", group, str(root)],
                ["mv", "-T", str(old), str(into)],
                ["chown", "-R", "-h", f"{account.name}:{group}", str(into)],
            )
            output.out.print(" && ".join(map(shlex.join, words)), markup=False, highlight=False, soft_wrap=True)


@app.command("make")
def make_accounts(
    site: SiteOption = None,
    json: JsonOption = False,
    show: Annotated[bool, typer.Option("--show", help="Print what would be written, and change nothing.")] = False,
) -> None:
    """Make the accounts and let the hub start jobs as them: by root, on the hub's machine. Safe to repeat."""
    settings, _, state = read_site(site)
    with_accounts(settings)
    wanted = files(settings, state)
    if show:
        if json:
            output.print_json({str(path): one.text for path, one in wanted.items()})
        else:
            for path, one in wanted.items():
                output.out.print(f"# {path}\n{one.text}", markup=False, highlight=False)
        return
    changed = make(settings, wanted)
    if json:
        output.print_json({"changed": [str(path) for path in changed]})
    else:
        told = f"Written: {', '.join(map(str, changed))}." if changed else "All was as it should be."
        output.out.print(told, markup=False)
