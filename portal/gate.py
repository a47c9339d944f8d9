"""The first door: only the portal's own name in `Host`, the same headers on every answer, a language per request."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portal import request as page_request

_NO_NAME = b"This address does not belong to this site, so nothing is shown.\n"


class Gate:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        host: the one `Host` that is answered, port included: a foreign name that resolves here (DNS rebinding) gets
            nothing.
        hub_origin: origin that forms may lead on to: the hub, where logging out ends.
        language: the site's own.
    """

    def __init__(self, app: ASGIApp, *, host: str, hub_origin: str, language: str) -> None:
        self._app = app
        self._host = host
        self._language = language
        self._headers = {
            "Content-Security-Policy": (
                "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; "
                f"form-action 'self' {hub_origin}"
            ),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if headers.getlist("host") != [self._host]:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": _NO_NAME})
            return
        query = scope["query_string"].decode("ascii", "replace")
        page_request.enter(headers, scope["path"] + (f"?{query}" if query else ""), self._language)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    given[name] = value
                # A page of somebody who is logged in stays in no cache.
                given.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, sent)
