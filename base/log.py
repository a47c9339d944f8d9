"""Logging for every process, as text or as JSON lines, with the one redactor that keeps secrets out of every line."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from secrets import token_bytes

VARIABLE = "LEERLAB_LOG"
"""Environment variable of each of our processes: `json` for one JSON object a line, anything else for text."""

HIDDEN = "[redacted]"

_SPACE = r"(?:\s|%20|\+)*"
_QUOTE = r"\\*[\"']"
_IS = rf"{_SPACE}(?:=|:|%3D|%3A|,(?=\s*b?{_QUOTE})){_SPACE}"
# A value in quotes, the quotes perhaps escaped once more because JSON stands within JSON; else up to what ends a word.
_VALUE = r"""(?:b?\\+"[^"]*?\\+"|b?"(?:[^"\\]|\\.)*"|b?'(?:[^'\\]|\\.)*'|(?!\[redacted\])[^\s&"'<>;,(){}\]]+)"""
# What a generator of tokens makes and no language does: 16 characters or more, with a digit or capitals within.
_RANDOM = r"(?=[A-Za-z0-9+/_.~-]*(?:[0-9]|[a-z][A-Z]))[A-Za-z0-9+/_.~-]{16,}={0,2}"

_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # Cookies hold sessions, whatever they are called: the rest of the header.
        rf"(?i:((?:set-)?cookie{_QUOTE}?\s*[:,=]\s*b?(?:{_QUOTE})?))(?!\s*\[redacted\])[^\"'\r\n]+",
        # Credentials (RFC 9110, section 11.6.2), with the name of their scheme kept.
        rf"(?i:(authorization(?:{_QUOTE})?\s*[:,=]\s*b?(?:{_QUOTE})?"
        r"(?!(?:[a-z]+\s+)?\[redacted\])(?:[a-z]+\s+)?))[^\s\"'\\,]+",
        r"(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).+?(?=-----END|\Z)",
        # Names that are only ever given to secrets, alone or within a longer name such as JUPYTERHUB_API_TOKEN.
        rf"(?i:((?:token|secret|passw(?:or)?d|passphrase|(?:api|private|access)[_-]?key|xsrf)[\w-]{{0,20}}"
        rf"(?:{_QUOTE})?{_IS})){_VALUE}",
        # Names that also mean something else: in an address always, elsewhere when the value looks like a token.
        r"(?i:((?:[?&#;]|%3F|%26|%23)(?:key|code|state|ticket|nonce|sig|signature)(?:=|%3D)))(?!\[redacted\])[^\s&\"'<>]+",
        rf"(?i:(\b(?:key|code|state|ticket|nonce|sig|signature)(?:{_QUOTE})?{_IS}(?:{_QUOTE})?)){_RANDOM}",
        rf"(?i:(\b(?:bearer|basic|token|start|secret|key|password)\s+)){_RANDOM}",
        # JupyterHub's line about a new cookie tells the session's name, which is half of what a form proves.
        rf"(?i:(\bxsrf cookie for\s+)){_VALUE}",
        r"(://[^/\s:@]*:)(?!\[redacted\]@)[^/\s@]+(?=@)",
    )
)


def redact(text: str) -> str:
    """The text with tokens, keys, passwords, cookies and credentials replaced by `[redacted]`; the names stay.

    Args:
        text: a line of a log or a message, in any mixture of headers, addresses and JSON.
    """
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


class RedactingFormatter(logging.Formatter):
    """Formats a record, exception text included, and redacts the result."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


# Nobody is found again by these: the key is made at each start of a process and kept nowhere.
_KEY = token_bytes(16)
_NAMES: dict[str, str] = {}
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?=[A-Za-z0-9-]*[A-Za-z])[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})+")
# JupyterHub's own form of who asked from where, in the line about each request.
_ASKED_FROM = re.compile(r"\(([^()@\s]{0,255})@([0-9a-fA-F.:%]{2,45})\)")
_IN_ADDRESS = re.compile(r"(/users?/|jupyterhub-user-)([^/?#\s\"'\\]{1,255})")
# Pseudonyms of the ledger, alone or in the name of an account in a sandbox.
_PSEUDONYM = re.compile(r"\b(?:box-[a-z2-7]{8}-)?p-[a-z2-7]{16}\b")
_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName", "color",
                                                                              "end_color", "highlevel"}  # fmt: skip


def known_names(names: Iterable[str]) -> None:
    """Names of accounts, which JSON lines show as `person-` and four digits.

    Args:
        names: of people, from the hub's database.
    """
    for name in names:
        _NAMES.setdefault(name, _shown(name))


def _shown(name: str) -> str:
    return f"person-{blake2b(name.encode(), key=_KEY, digest_size=2).hexdigest()}"


def impersonal(text: str) -> str:
    """The text without names of accounts, e-mail addresses and the addresses of who asked.

    The same name gives the same `person-` word until the process ends, so that lines about one start can be followed.

    Args:
        text: a line that `redact` has been through.
    """
    text = _ASKED_FROM.sub(r"(\1@[address])", text)
    text = _EMAIL.sub("[e-mail]", text)
    text = _IN_ADDRESS.sub(lambda match: match[1] + _known(match[2]), text)
    text = _PSEUDONYM.sub(lambda match: _shown(match[0]), text)
    return _TOKEN.sub(lambda match: _NAMES.get(match[0], match[0]), text) if _NAMES else text


def _known(name: str) -> str:
    return name if name.startswith(("course-", "person-", "[")) else _shown(name)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, without secrets and without personal data.

    Always `time` (UTC), `level`, `logger` and `message`; `exception` where there is one; and what the call gave as
    `extra`, such as the event, the id of a start and the number of its job.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        if record.exc_info:
            entry["exception"] = _clean(self.formatException(record.exc_info))
        if record.stack_info:
            entry["stack"] = _clean(self.formatStack(record.stack_info))
        for name, value in vars(record).items():
            if name in _STANDARD or name in entry:
                continue
            if value is None or isinstance(value, bool | int | float):
                entry[name] = value
            else:
                entry[name] = _clean_value(name, str(value))
        return json.dumps(entry, ensure_ascii=False)


def _clean(text: str) -> str:
    return impersonal(redact(text))


def _clean_value(name: str, value: str) -> str:
    """A value of its own, redacted as if its name stood before it, since the name may say that it is secret."""
    before = f"{name}="
    return _clean(redact(before + value).removeprefix(before))


def formatter() -> logging.Formatter:
    """The formatter that this process's environment asks for."""
    if os.environ.get(VARIABLE) == "json":
        return JsonFormatter()
    return RedactingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")


def configure(name: str, level: int = logging.INFO) -> logging.Logger:
    """Send this process's log to standard error, which supervisord writes to the state folder.

    Args:
        name: the process's name, as in `leerlab status`.
        level: least severe level that is written.
    """
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(formatter())
    logging.basicConfig(level=level, handlers=[stream], force=True)
    return logging.getLogger(name)
