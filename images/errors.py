"""What can go wrong with an image."""

from __future__ import annotations

from base.errors import LeerlabError


class ImageRefused(LeerlabError):
    """An image is not what it should be, so nothing of it is used."""


class BuildFailed(LeerlabError):
    """An image could not be built; nothing of it was left."""
