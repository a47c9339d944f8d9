"""How the audit trail is chained: each entry's hash holds the hash of the entry before it.

One entry's hash is SHA-256 over the JSON array [previous hash, sequence, time, actor, action, subject, details], as
UTF-8, written without spaces and with sorted keys.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from sqlalchemy import RowMapping

from base.errors import LeerlabError

GENESIS = "0" * 64
"""What stands for the hash before the first entry."""


class LedgerBroken(LeerlabError):
    """The audit trail is not what was written."""


def entry_hash(
    previous: str, sequence: int, *, time: str, actor: str, action: str, subject: str, details: Mapping[str, str]
) -> str:
    """The hash of one entry, 64 hexadecimal digits; the module's description is its definition."""
    chained = [previous, sequence, time, actor, action, subject, dict(details)]
    text = json.dumps(chained, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def checked_hash(previous: str, row: RowMapping) -> str:
    """The hash of a stored entry, once it has been computed anew from every one of its columns."""
    columns = {name: row[name] for name in ("time", "actor", "action", "subject", "details")}
    try:
        details = json.loads(columns.pop("details"))
        same = plain_json(details) == row["details"]
        expected = entry_hash(previous, row["sequence"], **columns, details=details)
    except (TypeError, ValueError) as error:
        raise broken(row["sequence"], "it was changed") from error
    if not same or row["hash"] != expected:
        raise broken(row["sequence"], "it was changed")
    return expected


def plain_json(details: Mapping[str, str]) -> str:
    """Details as they are stored; the same details are always written the same way."""
    return json.dumps(dict(details), sort_keys=True, separators=(",", ":"))


def broken(sequence: int, why: str) -> LedgerBroken:
    """The error that names the first entry that is not what was written."""
    return LedgerBroken(
        f"The audit trail is broken at entry {sequence}: {why}.",
        "Somebody or something changed the ledger outside Leerlab; nothing is appended to it any more.",
        "Keep the file for examination, and restore the ledger from a backup.",
    )
