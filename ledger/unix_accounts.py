"""Which unix account is whose: given once, and never to a second person, because files keep their owner's number."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import func, select

from base.errors import LeerlabError
from ledger.schema import unix_account_table
from ledger.store import Ledger


class UnixAccountLedger:
    """The accounts of one site's people.

    Args:
        ledger: where they are remembered.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def of(self, person: str) -> str | None:
        """The name of a person's account; None: none yet."""
        table = unix_account_table
        with self._ledger.snapshot() as connection:
            found = connection.execute(select(table.c.name).where(table.c.person == person)).scalar()
        return None if found is None else str(found)

    def give_next(self, person: str, name_of: Callable[[int], str]) -> str:
        """The name of a person's account: theirs, or the next that nobody has had.

        Args:
            person: pseudonym.
            name_of: the account's name by its place in the row, 0 first; raises IndexError when there is none.

        Raises:
            LeerlabError: all have been given.
        """
        table = unix_account_table
        with self._ledger.transaction() as connection:
            found = connection.execute(select(table.c.name).where(table.c.person == person)).scalar()
            if found is not None:
                return str(found)
            last = connection.execute(select(func.max(table.c.place))).scalar()
            place = 0 if last is None else int(last) + 1
            try:
                name = name_of(place)
            except IndexError:
                raise LeerlabError(
                    f"All {place} unix accounts of this site have been given to somebody.",
                    "New people cannot start a server; nobody else notices.",
                    "Raise unix_accounts.count in site.yaml, and have the playbook make the new ones on every machine.",
                ) from None
            since = datetime.now(UTC).isoformat()
            connection.execute(table.insert().values(person=person, name=name, place=place, since=since))
            self._ledger.append(connection, "site", "account.give", person, {"account": name})
        return name

    def take(self, person: str, name: str) -> None:
        """Write down that an account of the directory is a person's.

        Args:
            person: pseudonym.
            name: of the account, as the login's claim says.

        Raises:
            LeerlabError: it is somebody else's, or the person has another one; nothing was changed.
        """
        table = unix_account_table
        with self._ledger.transaction() as connection:
            rows = connection.execute(select(table).where((table.c.person == person) | (table.c.name == name)))
            known = [(row["person"], row["name"]) for row in rows.mappings()]
            if known == [(person, name)]:
                return
            if known:
                raise LeerlabError(
                    f"The unix account {name} and the person {person} are not each other's: the ledger has "
                    f"{', '.join(f'{of} of {who}' for who, of in known)}.",
                    "Files of one person would come into the hands of another.",
                    "Look at the claim that names the account; an account that was given once stays its person's.",
                )
            since = datetime.now(UTC).isoformat()
            connection.execute(table.insert().values(person=person, name=name, place=None, since=since))
            self._ledger.append(connection, "site", "account.give", person, {"account": name})

    def all(self) -> dict[str, str]:
        """The name of every account that was given, by person."""
        table = unix_account_table
        with self._ledger.snapshot() as connection:
            rows = connection.execute(select(table.c.person, table.c.name).order_by(table.c.name)).all()
        return {str(person): str(name) for person, name in rows}

    def given(self) -> int:
        """How many accounts have been given."""
        with self._ledger.snapshot() as connection:
            return int(connection.execute(select(func.count()).select_from(unix_account_table)).scalar() or 0)
