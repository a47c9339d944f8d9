"""Who is who: the same person is always the same, and nobody is somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError, LeerlabError
from ledger.store import Ledger

KEY = b"k" * 32


@pytest.fixture
def ledger(place: Any) -> Iterator[Ledger]:
    """An empty ledger."""
    opened = Ledger(place.url, KEY)
    yield opened
    opened.close()


def test_a_person_is_the_same_at_every_login_and_after_a_restart(place: Any) -> None:
    with closing(Ledger(place.url, KEY)) as ledger:
        first = ledger.person("oidc", "subject-1", "Sanne")
    with closing(Ledger(place.url, KEY)) as ledger:
        again = ledger.person("oidc", "subject-1", "Sanne de Vries")
    assert (again.pseudonym, again.first_seen) == (first.pseudonym, first.first_seen)
    assert again.title == "Sanne de Vries"


def test_nobody_shares_a_pseudonym(ledger: Ledger) -> None:
    pairs = [(provider, f"s{number}") for provider in ("oidc", "lti") for number in range(50)]
    assert len({ledger.person(*pair, "x").pseudonym for pair in pairs}) == len(pairs)


def test_the_border_between_provider_and_subject_cannot_be_moved(ledger: Ledger) -> None:
    assert ledger.person("a", "bc", "x").pseudonym != ledger.person("ab", "c", "x").pseudonym


def test_a_pseudonym_tells_nothing_without_the_key(place: Any) -> None:
    with closing(Ledger(place.url, KEY)) as ledger:
        one = ledger.person("oidc", "sanne@example.nl", "x").pseudonym
    with closing(Ledger(place.another().url, b"o" * 32)) as ledger:
        other = ledger.person("oidc", "sanne@example.nl", "x").pseudonym
    assert one != other
    assert "sanne" not in one


def test_a_demo_person_keeps_its_own_name(ledger: Ledger) -> None:
    assert ledger.person("demo", "sanne", "Sanne").pseudonym == "sanne"


@pytest.mark.attack
def test_a_demo_person_cannot_take_the_name_of_somebody_else(ledger: Ledger) -> None:
    taken = ledger.person("oidc", "subject-1", "Sanne").pseudonym
    with pytest.raises(LeerlabError, match="belongs to somebody else"):
        ledger.person("demo", taken, "Impostor")
    assert ledger.person("demo", "free", "Control").pseudonym == "free"


@pytest.mark.attack
def test_a_name_taken_beforehand_does_not_make_two_people_one(ledger: Ledger) -> None:
    foreseen = ledger.pseudonym("oidc", "subject-1")
    ledger.person("demo", foreseen, "Squatter")
    assert ledger.person("oidc", "subject-1", "Sanne").pseudonym != foreseen


@pytest.mark.parametrize(("provider", "subject"), [("", "x"), ("oidc", ""), ("oidc", "  ")])
def test_a_missing_claim_is_nobody(ledger: Ledger, provider: str, subject: str) -> None:
    with pytest.raises(InputError, match="without a provider or an id"):
        ledger.person(provider, subject, "x")


@pytest.mark.parametrize("url", ["postgresql://u@h/d", "mysql://h/d"])
def test_only_sqlite_is_taken(url: str) -> None:
    with pytest.raises(InputError, match="SQLite"):
        Ledger(url, KEY)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too short"):
        Ledger(f"sqlite:///{tmp_path}/l.sqlite", b"short")


@pytest.mark.parametrize("content", [None, "", "not hexadecimal", "ab" * 31])
def test_a_key_file_without_a_key_is_refused(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match="key"):
        Ledger.open(f"sqlite:///{tmp_path}/l.sqlite", file)
    file.write_text("ab" * 32 + "\n")
    Ledger.open(f"sqlite:///{tmp_path}/l.sqlite", file).close()
