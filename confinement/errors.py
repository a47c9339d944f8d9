"""Errors of the wall; standard library only, because job wrappers raise them outside every environment."""

from __future__ import annotations

from base.errors import InputError, LeerlabError


class WallInvalid(InputError):
    """A wall's description is not one that may be built."""


class WallRefused(LeerlabError):
    """The wall cannot be built here, so nothing was started: never a weaker wall instead."""
