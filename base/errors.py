"""Errors that tell a person what happened, what it means and what to do next."""

from __future__ import annotations


class LeerlabError(Exception):
    """Base of every error that Leerlab raises on purpose.

    Args:
        what: what happened, one sentence.
        means: what that means for the person, one sentence; empty where it is plain.
        do: what to do next, one sentence; empty where nothing can be done.
    """

    def __init__(self, what: str, means: str = "", do: str = "") -> None:
        self.what = what
        self.means = means
        self.do = do
        super().__init__(" ".join(part for part in (what, means, do) if part))


class InputError(LeerlabError):
    """Wrong use or wrong input; the command line ends with exit code 2."""
