"""What root writes for a site with unix accounts, and which account a person gets."""

from __future__ import annotations

import json
import os
import pwd
import secrets
from pathlib import Path
from typing import Any

import pytest
import yaml

from base.errors import InputError, LeerlabError
from base.paths import State
from cluster.unix_accounts import DirectoryAccounts, MadeAccounts
from hub_config.login.claims import account_of
from hub_config.site import Site
from hub_config.unix_accounts import PeoplesAccounts, see_no_old_homes
from hub_config.unix_accounts_files import SUDOERS, SYSUSERS, TMPFILES, files, make
from ledger.store import Ledger
from ledger.unix_accounts import UnixAccountLedger
from spawners.launcher import POLICY

CODE = Path(__file__).resolve().parents[3]
MADE = {"kind": "made", "first_uid": 70000, "count": 2, "homes": "/srv/people"}


def site(**accounts: Any) -> Site:
    description = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    description["cluster"] = {
        "kind": "existing", "slurm_conf": "/etc/slurm/slurm.conf", "network": "10.1.0.0/16",
        "partitions": [
            {"name": "cpu", "time": "8h", "cpus": 8, "memory": "32G", "default": True},
            {"name": "gpu", "time": "8h", "cpus": 8, "memory": "32G", "shards": 8},
        ],
    }  # fmt: skip
    description["profiles"][0]["data"] = [{"name": "weer", "folder": "/srv/data/weer"}]
    return Site.of_plain({**description, "unix_accounts": {**MADE, **accounts}})


def test_root_writes_accounts_homes_one_rule_and_what_the_launcher_may_do() -> None:
    written = files(site(), State(Path("/var/lib/leerlab/state")))
    assert set(written) == {SUDOERS, SYSUSERS, TMPFILES, POLICY}
    accounts = written[SYSUSERS].text.splitlines()[1:]
    assert accounts == [
        "g leerlab-people 70000",
        'u ll00000 70000:leerlab-people "Leerlab" /srv/people/ll00000 /usr/sbin/nologin',
        'u ll00001 70001:leerlab-people "Leerlab" /srv/people/ll00001 /usr/sbin/nologin',
    ]
    assert "d /srv/people/ll00001 0700 ll00001 leerlab-people -" in written[TMPFILES].text
    assert written[SUDOERS].mode == 0o440
    assert written[SUDOERS].text.splitlines()[1:] == [
        "leerlab ALL=(%leerlab-people) NOPASSWD: /usr/bin/python3 -I -S /var/lib/leerlab/bin/launcher.py"
    ]
    policy = json.loads(written[POLICY].text)
    assert (policy["first_uid"], policy["last_uid"]) == (70000, 70001)
    assert policy["readable"] == ["/srv/data/weer"]
    assert policy["publish_on"] == "10.1.0.0/16"


def test_of_a_directory_root_writes_no_accounts() -> None:
    description = site().model_dump(mode="json") | {
        "unix_accounts": {
            "kind": "directory", "claim": "uid", "first_uid": 20000, "last_uid": 60000, "group": "students",
        }
    }  # fmt: skip
    written = files(Site.of_plain(description), State(Path("/s")))
    assert set(written) == {SUDOERS, POLICY}
    assert "ALL=(%students)" in written[SUDOERS].text


def test_only_root_makes_accounts() -> None:
    assert os.geteuid() != 0
    with pytest.raises(InputError, match="Only root"):
        make(site(), {})


async def test_a_person_gets_an_account_that_this_machine_knows_in_the_sites_range(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.geteuid())
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", secrets.token_bytes(32))
    known = UnixAccountLedger(ledger)
    known.take("anna", me.pw_name)
    try:
        # The class does not check the bounds of the section again.
        mine = DirectoryAccounts.model_construct(
            kind="directory", claim="uid", group="g", first_uid=me.pw_uid, last_uid=me.pw_uid
        )
        assert (await PeoplesAccounts(mine, known).of("anna")).uid == me.pw_uid
        with pytest.raises(LeerlabError, match="named no unix account"):
            await PeoplesAccounts(mine, known).of("bram")
        others = mine.model_copy(update={"first_uid": 2_000_000, "last_uid": 2_000_001})
        with pytest.raises(LeerlabError, match=r"site\.yaml says 2000000 to 2000001"):
            await PeoplesAccounts(others, known).of("anna")
        made = MadeAccounts(kind="made", first_uid=2_000_000, count=1, prefix="absent")
        with pytest.raises(LeerlabError, match="does not know the unix account absent00000"):
            await PeoplesAccounts(made, known).of("carla")
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("value", "account"),
    [
        ("adevries", "adevries"), (["adevries"], "adevries"), (["a", "b"], None), ("", None), (None, None), (7, None),
        ("../root", None), ("a b", None), ("A" * 80, None), ("-u", None), ("#0", None),
    ],
)  # fmt: skip
def test_a_claim_names_an_account_or_nothing(value: object, account: str | None) -> None:
    assert account_of({"uid": value}, "uid") == account
    assert account_of({"uid": value}, None) is None


def test_homes_from_before_are_named_and_stop_the_start(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.make()
    (state.homes / "bram").mkdir()
    see_no_old_homes(state)
    (state.homes / "anna").mkdir()
    (state.homes / "anna" / "werk.ipynb").write_text("{}")
    with pytest.raises(LeerlabError, match="1 homes from before"):
        see_no_old_homes(state)


def test_only_what_walls_use_can_be_passed_through(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.make(os.getgid())
    modes = {path.name: path.stat().st_mode & 0o777 for path in state.root.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o710} == {"run", "generated", "images"}
    assert modes["catalogue"] == 0o750
    assert modes["secrets"] == modes["homes"] == modes["exchange"] == 0o700
    state.make()
    assert {path.stat().st_mode & 0o777 for path in (state.root, *state.root.iterdir())} == {0o700}
