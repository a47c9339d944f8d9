"""Logging for every process, with the one redactor that keeps tokens and secrets out of every log line."""

from __future__ import annotations

import logging
import re
import sys

_SECRET = re.compile(
    r"(?i)((?:token|secret|key|password|code|state)[\"']?\s*[=:]\s*[\"']?|\b(?:bearer|token|basic|start)\s+)"
    r"[A-Za-z0-9+/_.~%=-]{8,}"
)


def redact(text: str) -> str:
    """The text with every value that follows a word such as token, secret or key replaced by `[redacted]`."""
    return _SECRET.sub(r"\1[redacted]", text)


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
