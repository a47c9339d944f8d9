"""nbgrader's scripts for formgrader's pages, with what does not fit a course's server changed as they are served."""

from __future__ import annotations

from pathlib import Path

from nbgrader.server_extensions.formgrader import handlers
from nbgrader.server_extensions.formgrader.base import BaseHandler
from tornado import web

# Links in formgrader's pages lead to a notebook or file view, which this server does not have.
_PLAIN_LINKS = """
linkTo = function (type, path) {
    return function (_, el) { $(el).removeAttr("href").attr("title", path); return el; };
};
"""
_NO_LAST_NAME = 'if (last_name === null) last_name = "None";'
_NO_FIRST_NAME = 'if (first_name === null) first_name = "None";'
_NAME = 'var name = last_name + ", " + first_name;'


def _named(account: str) -> tuple[tuple[str, str], ...]:
    """A student whose gradebook entry has no name goes by their account, not by "None, None".

    Args:
        account: the script's expression for it.
    """
    known = '[last_name, first_name].filter(Boolean).join(", ")'
    return (_NO_LAST_NAME, ""), (_NO_FIRST_NAME, ""), (_NAME, f"var name = {known} || {account};")


CHANGES: dict[str, tuple[tuple[str, str], ...]] = {
    "utils.js": (),
    "manage_submissions.js": _named("student"),
    "manage_students.js": _named('this.model.get("id")'),
}


def script(name: str) -> str:
    """One of the scripts in `CHANGES`.

    Raises:
        RuntimeError: nbgrader's script is not the one that the change was made for (0.9.6).
    """
    text = Path(handlers.static_path, "js", name).read_text("utf-8")
    for theirs, ours in CHANGES[name]:
        if text.count(theirs) != 1:
            raise RuntimeError(f"nbgrader's {name} has changed: {theirs!r} is there {text.count(theirs)} times.")
        text = text.replace(theirs, ours)
    return text + _PLAIN_LINKS if name == "utils.js" else text


class Script(BaseHandler):
    """A changed script, at the address of nbgrader's own."""

    def initialize(self, name: str) -> None:
        """Args:
        name: of the script, a key of `CHANGES`.
        """
        self._name = name

    @web.authenticated
    def get(self) -> None:
        """The script."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.write(script(self._name))
