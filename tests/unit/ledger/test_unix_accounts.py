"""Accounts are given once, in order, and never to two."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from base.errors import LeerlabError
from cluster.unix_accounts import MadeAccounts
from ledger.store import Ledger
from ledger.unix_accounts import UnixAccountLedger

SETTINGS = MadeAccounts(kind="made", first_uid=70000, count=20)


def name_of(place: int) -> str:
    return SETTINGS.account(place).name


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[UnixAccountLedger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", secrets.token_bytes(32))
    yield UnixAccountLedger(ledger)
    ledger.close()


def test_each_person_gets_the_next_account_and_keeps_it(accounts: UnixAccountLedger) -> None:
    assert accounts.of("anna") is None
    assert accounts.give_next("anna", name_of) == "ll00000"
    assert accounts.give_next("bram", name_of) == "ll00001"
    assert accounts.give_next("anna", name_of) == accounts.of("anna") == "ll00000"
    assert accounts.given() == 2
    assert SETTINGS.account(1).uid == 70001


def test_a_class_that_comes_at_once_gets_an_account_each(accounts: UnixAccountLedger) -> None:
    people = [f"p{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda person: accounts.give_next(person, name_of), people))
    assert sorted(given) == [f"ll{number:05d}" for number in range(20)]
    with pytest.raises(LeerlabError, match="All 20 unix accounts"):
        accounts.give_next("one too many", name_of)
    assert accounts.given() == 20


def test_an_account_of_the_directory_is_one_persons(accounts: UnixAccountLedger) -> None:
    accounts.take("anna", "adevries")
    accounts.take("anna", "adevries")
    for person, name in (("bram", "adevries"), ("anna", "bsmit")):
        with pytest.raises(LeerlabError, match="not each other's"):
            accounts.take(person, name)
    assert accounts.of("anna") == "adevries" and accounts.of("bram") is None
