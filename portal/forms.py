"""Forms: that a POST comes from a page of this very session, and its fields, small and few."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from portal.errors import Refused
from portal.people import Visitor

FIELD = "_xsrf"
_LARGEST = 64 * 1024
_MOST_FIELDS = 50
_PIECE = 256 * 1024
_MULTIPART = "multipart/form-data"
_URLENCODED = "application/x-www-form-urlencoded"


def require_origin(request: Request, origin: str) -> None:
    """Raise unless the browser says that one of our own pages sent this.

    Args:
        origin: the portal's own.

    Raises:
        Refused: another origin, or none at all; browsers send one with every POST (Fetch standard, section 3.2).
    """
    if request.headers.getlist("origin") != [origin]:
        raise Refused(403, "forged", "The form does not come from one of our pages.")


def require_token(given: object, visitor: Visitor) -> None:
    """Raise unless this is the session's own token, in a time that does not depend on where it differs.

    Raises:
        Refused: it is another, or none.
    """
    if not isinstance(given, str) or not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise Refused(403, "forged", "The form's token is not this session's.")


@asynccontextmanager
async def uploaded(request: Request, visitor: Visitor, most: int) -> AsyncIterator[UploadFile]:
    """The one file of a form with a file, once its token has proven right; closed when the caller is done.

    It is on disk by then, in a file without a name, and not in memory.

    Args:
        most: largest file in bytes.

    Raises:
        Refused: not such a form, too large, of unknown length, without a file, or not of this session.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MULTIPART:
        raise Refused(415, "wrong", "A form with a file was expected.")
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise Refused(411, "wrong", "The form's length is not known.")
    if int(length) > most + _LARGEST:
        raise Refused(413, "too-large", "The file is too large.")
    async with request.form(max_files=1, max_fields=3, max_part_size=_LARGEST) as form:
        require_token(form.get(FIELD), visitor)
        file = form.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise Refused(400, "no-file", "No file was chosen.")
        yield file


async def chunks_of(file: UploadFile) -> AsyncIterator[bytes]:
    """A file's contents in pieces."""
    while chunk := await file.read(_PIECE):
        yield chunk


async def fields(request: Request, visitor: Visitor) -> dict[str, str]:
    """The fields of a small form, once its token has proven right.

    Raises:
        Refused: not such a form, too large, or not of this session.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _URLENCODED:
        raise Refused(415, "wrong", "Only a plain form is taken here.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise Refused(413, "too-large", "The form is too large.")
    request._body = bytes(body)  # what Request.form() reads; there is no public way to give it
    form: FormData = await request.form(max_fields=_MOST_FIELDS, max_files=0)
    plain = {name: value for name, value in form.items() if isinstance(value, str)}
    require_token(plain.pop(FIELD, None), visitor)
    return plain
