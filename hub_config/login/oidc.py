"""The login through identity providers: JupyterHub's authenticator over the providers of site.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Bool, Instance, default

from base.errors import LeerlabError
from base.paths import State
from cluster.unix_accounts import DirectoryAccounts
from hub_config.audit import Audit
from hub_config.login.attempts import Attempts
from hub_config.login.hosts import Hosts
from hub_config.login.login_state import Used
from hub_config.login.names import BOX_ACCOUNT, COURSE_ACCOUNT, PSEUDONYM
from hub_config.login.oidc_pages import (
    BeginHandler,
    CallbackHandler,
    FailedHandler,
    OidcLogoutHandler,
    ProvidersHandler,
)
from hub_config.login.people import Record
from hub_config.login.provider import Provider
from hub_config.login.refusals import LoginRefused, Reason
from hub_config.login.settings import OidcLoginSettings
from hub_config.login.standing import Standings
from hub_config.login.sweep import Sweep
from hub_config.run.keys import secret
from hub_config.secret_files import client_secret
from hub_config.site import Site
from ledger.store import Ledger

AUTH_STATE_KEY = "auth-state-key"
REFRESH_SECONDS = 300
"""A page asked for later than this after the last answer makes us ask the provider again."""
MOST_REFUSALS = 120
"""Refusals recorded a minute: a flood of forged callbacks must not fill the disk with records of itself."""


@dataclass(frozen=True)
class OidcLogin:
    """All that the login needs.

    Args:
        settings: the section of site.yaml.
        secrets: client secret of each provider, by id.
        address: the site's address, such as `http://leerlab.localhost:8000`.
        ledger: gives people their names.
        record: writes one line of the audit trail.
        account_claim: claim with the name of a person's unix account, on a site whose directory has them.
    """

    settings: OidcLoginSettings
    secrets: Mapping[str, str] = field(repr=False)
    address: str
    ledger: Ledger
    record: Record
    account_claim: str | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> OidcLogin:
        """traitlets copies every configured value; this one holds what must stay one."""
        return self


class OidcAuthenticator(Authenticator):  # type: ignore[misc]  # JupyterHub has no types
    """Several providers side by side. Groups come from their rules only; nobody is a JupyterHub admin."""

    oidc = Instance(OidcLogin, help="Providers, secrets, ledger and record of the login.").tag(config=True)
    enable_auth_state = Bool(True)
    refresh_pre_spawn = Bool(True)
    auth_refresh_strict = Bool(True)
    any_allow_config = Bool(True)

    @default("manage_groups")
    def _default_manage_groups(self) -> bool:
        return True

    @default("auth_refresh_age")
    def _default_auth_refresh_age(self) -> int:
        return REFRESH_SECONDS

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.used = Used()
        self._refusals = Attempts(limit=MOST_REFUSALS)
        self.providers = {
            one.id: Provider(
                one,
                self.oidc.secrets[one.id],
                f"{self.oidc.address}/hub/oidc/{one.id}/callback",
                self.oidc.ledger,
                self.oidc.account_claim,
                parent=self,
            )
            for one in self.oidc.settings.providers
        }
        self.standings = Standings(self.providers, self.oidc.settings.grace, self.oidc.record)
        self.sweep = Sweep(self.standings, self.oidc.settings.check_every)

    async def record(self, actor: str, action: str, subject: str, details: Mapping[str, str]) -> None:
        """Write one line of the audit trail."""
        await self.oidc.record(actor, action, subject, details)

    async def record_refusal(self, provider: str, refusal: LoginRefused) -> None:
        """Write that somebody was not let in, and why; of a flood only the beginning.

        Args:
            provider: id of the provider.
            refusal: what was found.
        """
        self.log.warning("Login at %s refused: %s", provider, refusal.reason.value)
        if self._refusals.wait_seconds():
            return
        self._refusals.wrong()
        details = {"provider": provider, "reason": refusal.reason.value}
        await self.record("anonymous", "login.refused", refusal.subject, details)

    async def authenticate(self, handler: Any, data: Any = None) -> dict[str, Any] | None:
        """Who comes back from a provider.

        Raises:
            LoginRefused: nobody who may come in.
        """
        if not isinstance(handler, CallbackHandler):
            return None
        model: dict[str, Any] = await handler.provider.authenticate(handler, data)
        try:
            await self.record(model["name"], "login", model["name"], {"kind": "oidc", "provider": handler.provider.id})
        except LeerlabError as error:
            raise LoginRefused(Reason.LEDGER, model["name"]) from error
        self.standings.expect(model["name"])
        return model

    def check_allowed(self, username: str, authentication: Mapping[str, Any] | None = None) -> bool:
        """Only a pseudonym of ours, and only with a group."""
        return bool(authentication and authentication["groups"]) and re.fullmatch(PSEUDONYM, username) is not None

    async def refresh_user(self, user: Any, handler: Any = None) -> bool:
        """Whether this person still may; groups are brought in step on the way (`Standings.check`)."""
        return await self.standings.check(user)

    def get_handlers(self, app: Any) -> list[tuple[Any, ...]]:
        """The login page, each provider's way there and back, and logging out."""
        ways: list[tuple[Any, ...]] = []
        for provider in self.providers.values():
            ways.append((rf"/oidc/{provider.id}/login", BeginHandler, {"provider": provider}))
            ways.append((rf"/oidc/{provider.id}/callback", CallbackHandler, {"provider": provider}))
        return [("/login", ProvidersHandler), ("/login/failed", FailedHandler), *ways, ("/logout", OidcLogoutHandler)]


def configure(c: Any, site: Site, settings: OidcLoginSettings, state: State, audit: Audit) -> None:
    """Set JupyterHub's login.

    Args:
        c: the traitlets Config object that JupyterHub reads.
        site: the checked settings.
        settings: their section `login:`.
        state: the site's state folder, with its secrets.
        audit: the audit trail and its ledger.

    Raises:
        InputError: a client secret cannot be read.
    """
    secrets = {provider.id: client_secret(Path(provider.client_secret_file)) for provider in settings.providers}
    c.JupyterHub.authenticator_class = OidcAuthenticator
    c.GuardedHub.hosts = hosts_of(site)
    accounts = site.unix_accounts
    claim = accounts.claim if isinstance(accounts, DirectoryAccounts) else None
    c.OidcAuthenticator.oidc = OidcLogin(settings, secrets, site.hub.address, audit.ledger, audit.record, claim)
    c.CryptKeeper.keys = [secret(state, AUTH_STATE_KEY)]


def hosts_of(site: Site) -> Hosts:
    """The host names of a site whose people are known only once they come."""
    people = f"(?:{PSEUDONYM}|{BOX_ACCOUNT}|{COURSE_ACCOUNT})"
    hub = site.hub
    return Hosts.of(hub.domain, hub.port, (), str(hub.bind), pattern=people, https=hub.https)
