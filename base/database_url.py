"""Addresses of databases in site.yaml: a SQLite file, or PostgreSQL on a unix socket of this machine.

Such an address holds no secret: PostgreSQL asks the kernel who connects (peer authentication). One that could hold a
password, or leads over a network, is refused.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

SQLITE = "sqlite:////"
POSTGRESQL = "postgresql:///"
EXAMPLES = ["sqlite:////srv/leerlab/ledger.sqlite", "postgresql:///leerlab_ledger?host=/run/postgresql"]
_ON_A_SOCKET = re.compile(r"postgresql:///[a-z_][a-z0-9_]{0,62}\?host=/[A-Za-z0-9._/-]{1,90}(&port=[1-9][0-9]{0,4})?")


def checked(url: str) -> str:
    """The address, once it is one of the two kinds.

    Raises:
        ValueError: it is not; never repeats an address that may hold a password.
    """
    if url.startswith(SQLITE) and "?" not in url and not url.endswith("/"):
        return url
    if _ON_A_SOCKET.fullmatch(url):
        return url
    raise ValueError(
        "this is neither the address of a SQLite file nor of PostgreSQL on a unix socket; an address with a password "
        f"or of another machine is not taken (allowed: such as {EXAMPLES[0]} or {EXAMPLES[1]})"
    )


def is_postgresql(url: str) -> bool:
    """Whether the address is of PostgreSQL."""
    return url.startswith(POSTGRESQL)


def for_sqlalchemy(url: str) -> str:
    """The address with the name of the driver that is installed."""
    return url.replace("postgresql:", "postgresql+psycopg:", 1) if is_postgresql(url) else url


def socket_of(url: str) -> str:
    """The unix socket on which a PostgreSQL of such an address listens."""
    asked = parse_qs(urlsplit(url).query)
    return f"{asked['host'][0]}/.s.PGSQL.{asked.get('port', ['5432'])[0]}"
