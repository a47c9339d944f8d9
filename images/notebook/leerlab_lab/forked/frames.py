"""How a kernel's messages travel over its pipe: four bytes of length, most significant first, and a JSON object."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

LENGTH = struct.Struct(">I")
LARGEST_FRAME = 64 * 2**20


class NotAFrame(Exception):
    """What came is not what a kernel sends."""


def framed(message: dict[str, Any]) -> bytes:
    """A message as it travels; one that is too large says only that there was one."""
    frame = json.dumps(message, default=repr).encode()
    if len(frame) > LARGEST_FRAME:
        frame = json.dumps({**message, "type": "cut", "content": {}}).encode()
    return LENGTH.pack(len(frame)) + frame


class Frames:
    """Puts pieces of bytes together to messages."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def whole(self, piece: bytes) -> Iterator[dict[str, Any]]:
        """The messages that are complete with this piece.

        Raises:
            NotAFrame: too long, or not a JSON object.
        """
        self._waiting += piece
        while len(self._waiting) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._waiting)
            if length > LARGEST_FRAME:
                raise NotAFrame(f"a message of {length} bytes")
            if len(self._waiting) < LENGTH.size + length:
                return
            frame = bytes(self._waiting[LENGTH.size : LENGTH.size + length])
            del self._waiting[: LENGTH.size + length]
            try:
                message = json.loads(frame)
            except (ValueError, RecursionError) as error:
                raise NotAFrame("a message that is not JSON") from error
            if not isinstance(message, dict):
                raise NotAFrame("a message that is no object")
            yield message
