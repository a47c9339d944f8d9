"""Logging for every process, with the one redactor that keeps tokens and secrets out of every log line."""

from __future__ import annotations

import logging
import re
import sys

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


def configure(name: str, level: int = logging.INFO) -> logging.Logger:
    """Send this process's log to standard error, which supervisord writes to the state folder.

    Args:
        name: the process's name, as in `leerlab status`.
        level: least severe level that is written.
    """
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[stream], force=True)
    return logging.getLogger(name)
