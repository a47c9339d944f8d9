"""Forms: that a POST comes from a page of this very session, and its fields, small and few."""

from __future__ import annotations

import hmac

from starlette.datastructures import FormData
from starlette.requests import Request

from portal.errors import Refused
from portal.people import Visitor

FIELD = "_xsrf"
_LARGEST = 64 * 1024
_MOST_FIELDS = 50
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
