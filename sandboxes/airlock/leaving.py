"""A file that leaves: what goes out, piece by piece, is what was hashed and agreed to, whatever happens to its copy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from base.errors import LeerlabError

PIECE = 2**20
"""Bytes of which each hash is kept in memory: 32 KiB of hashes for a file of 1 GiB."""


class NotWhatWasAgreed(LeerlabError):
    """The file is another than the one that may leave."""

    def __init__(self) -> None:
        super().__init__("This file is not what was approved any more.", "It does not leave.", "Ask for it again.")


class Leaving:
    """An open file of which every piece is known.

    The hash of the whole is checked once; each piece is compared with the one that was hashed then, before it is
    handed out. A copy that is replaced or written to meanwhile therefore ends the download; nothing of it goes out.

    Args:
        file: the copy, which only this service can reach.
        sha256: hash of what was agreed to, in hexadecimal.

    Raises:
        FileNotFoundError: there is no such file.
        NotWhatWasAgreed: its contents have another hash.
    """

    def __init__(self, file: Path, sha256: str) -> None:
        self._file: BinaryIO = os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
        whole, self._known, self.size = hashlib.sha256(), list[bytes](), 0
        """Bytes."""
        try:
            while piece := self._file.read(PIECE):
                whole.update(piece)
                self._known.append(hashlib.sha256(piece).digest())
                self.size += len(piece)
            if whole.hexdigest() != sha256:
                raise NotWhatWasAgreed
        except BaseException:
            self._file.close()
            raise

    def pieces(self) -> Iterator[bytes]:
        """The contents.

        Raises:
            NotWhatWasAgreed: the next piece is not the one that was hashed.
        """
        self._file.seek(0)
        for known in self._known:
            piece = self._file.read(PIECE)
            if hashlib.sha256(piece).digest() != known:
                raise NotWhatWasAgreed
            yield piece

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
