"""Logging in through the hub: OAuth 2.0 authorization code with PKCE (RFC 6749, RFC 7636), no confirmation page."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from portal.configuration import CALLBACK, CLIENT, PortalConfiguration
from portal.errors import NotLoggedIn, Refused
from portal.hub import Hub
from portal.language import safe_return
from portal.people import Visitor
from portal.sessions import Session, Sessions

SESSION_COOKIE = "leerlab-portal"
# One a tab, so that two tabs that log in do not take each other's.
_LOGIN_COOKIE = "leerlab-portal-login-"
_LOGIN_SECONDS = 600
_LONGEST_NEXT = 1000
# What a token may do at most: prove who it is, and stop the person's servers; never more than the person may.
SCOPES = ("access:services!service=portal", "read:users:name", "read:users:groups", "delete:servers")


class Login:
    """The browser's way in and out.

    Args:
        configuration: of the portal.
        hub: the hub.
        sessions: who is logged in.
    """

    def __init__(self, configuration: PortalConfiguration, hub: Hub, sessions: Sessions) -> None:
        self._configuration = configuration
        self._hub = hub
        self._sessions = sessions
        # Over https no other host of this domain can set a cookie of such a name (RFC 6265bis, section 4.1.3.2).
        self._cookie = f"__Host-{SESSION_COOKIE}" if configuration.https else SESSION_COOKIE
        # Only for logins that are under way; after a restart they begin again.
        self._key = secrets.token_bytes(32)

    async def visitor(self, request: Request) -> Visitor:
        """Who asks.

        Raises:
            NotLoggedIn: nobody whom the hub knows.
            HubSilent: the hub does not say.
        """
        session = self._session(request)
        try:
            person = await self._hub.who(session.token)
        except NotLoggedIn:
            self._sessions.close(session.id)
            raise
        if person.name != session.person:
            self._sessions.close(session.id)
            raise NotLoggedIn("This session's token has become somebody else's.")
        return Visitor(person.name, person.title, person.groups, person.scopes, session.token, session.csrf, session.id)

    async def begin(self, request: Request) -> Response:
        """Send the browser to the hub; it comes back at once when the person is logged in there."""
        goal = safe_return(request.query_params.get("next", "")[:_LONGEST_NEXT], "/")
        state, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = urlencode(
            {
                "client_id": CLIENT,
                "redirect_uri": self._configuration.origin + CALLBACK,
                "response_type": "code",
                "state": state,
                "scope": " ".join(SCOPES),
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        answer = RedirectResponse(f"{self._configuration.hub_origin}/hub/api/oauth2/authorize?{query}", 302)
        answer.set_cookie(
            _LOGIN_COOKIE + state[:8],
            self._sealed([state, verifier, goal, int(time.time())]),
            max_age=_LOGIN_SECONDS, path=CALLBACK, httponly=True, samesite="lax", secure=self._configuration.https,
        )  # fmt: skip
        return answer

    async def finish(self, request: Request) -> Response:
        """Take the hub's code for a token and open a session with a new id, whatever the browser held before.

        Raises:
            Refused: the login was not begun in this browser, or too long ago.
            HubSilent: the hub does not say.
        """
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        cookie = _LOGIN_COOKIE + state[:8]
        begun = self._opened(request.cookies.get(cookie, ""))
        if begun is None or not hmac.compare_digest(begun[0].encode(), state.encode()):
            raise Refused(403, "login", "This login was not begun in this browser.")
        if not code:
            raise Refused(403, "not-yours", "The hub did not let this person in here.")
        try:
            token = await self._hub.exchange(code, begun[1], self._configuration.origin + CALLBACK)
            person = await self._hub.who(token)
        except NotLoggedIn as error:
            raise Refused(403, "login", str(error)) from error
        for old in self._cookies(request):
            self._sessions.close(old)
        session = self._sessions.open(person.name, token)
        answer = RedirectResponse(safe_return(begun[2], "/"), 302)
        secure = self._configuration.https
        answer.set_cookie(self._cookie, session.id, path="/", httponly=True, samesite="lax", secure=secure)
        answer.delete_cookie(cookie, path=CALLBACK)
        return answer

    def leave(self, visitor: Visitor) -> Response:
        """Forget the session, and go on to the hub, where logging out ends everything else."""
        self._sessions.close(visitor.session)
        self._hub.forget(visitor.token)
        answer = RedirectResponse(f"{self._configuration.hub_origin}/hub/logout", 303)
        answer.delete_cookie(self._cookie, path="/", secure=self._configuration.https)
        return answer

    def again(self, goal: str) -> Response:
        """Log in anew, silently when the hub still knows the person, and come back to this page."""
        return RedirectResponse("/login?" + urlencode({"next": goal}), 303)

    def _session(self, request: Request) -> Session:
        found = {session.id: session for each in self._cookies(request) if (session := self._sessions.of(each))}
        if len(found) != 1:
            # A page below the same domain can add a cookie of this name; which one is meant cannot be known.
            for each in found:
                self._sessions.close(each)
            raise NotLoggedIn("There is no session.")
        return next(iter(found.values()))

    def _cookies(self, request: Request) -> list[str]:
        """Every value of the session cookie, as the browser sent them: a name may come several times."""
        values = []
        for header in request.headers.getlist("cookie"):
            for part in header.split(";"):
                name, _, value = part.strip().partition("=")
                if name == self._cookie:
                    values.append(value.strip('"'))
        return values[:8]

    def _sealed(self, parts: list[str | int]) -> str:
        text = base64.urlsafe_b64encode(json.dumps(parts).encode())
        return (text + b"." + self._seal(text)).decode()

    def _seal(self, text: bytes) -> bytes:
        return base64.urlsafe_b64encode(hmac.digest(self._key, text, "sha256"))

    def _opened(self, cookie: str) -> tuple[str, str, str] | None:
        text, _, seal = cookie.encode("ascii", "replace").partition(b".")
        if not hmac.compare_digest(seal, self._seal(text)):
            return None
        state, verifier, goal, begun = json.loads(base64.urlsafe_b64decode(text))
        return (state, verifier, goal) if time.time() - begun < _LOGIN_SECONDS else None
