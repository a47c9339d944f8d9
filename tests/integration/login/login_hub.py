"""The hub of the login's tests: the real one, whose defences a test can remove one by one for positive controls."""

from __future__ import annotations

import asyncio
import functools
import hmac
import json
import os
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets.config import Config

from base.database_url import for_sqlalchemy
from base.paths import State
from hub_config import https
from hub_config.audit import Audit, open_ledger
from hub_config.login import claims, id_token, login_state, oidc, oidc_pages, provider, standing, strict_json
from hub_config.login.gate import GuardedHub
from hub_config.login.settings import OidcLoginSettings
from hub_config.site import Site
from portal.hub_pages import template_vars

SETTINGS = json.loads(os.environ["LOGIN_SETTINGS"])
ROOT = Path(SETTINGS["root"])
HERE = Path(__file__).parent
CODE = HERE.parents[2]


def removed(check: str) -> bool:
    """Whether a test has removed this defence."""
    file = ROOT / "without"
    return file.exists() and check in file.read_text().split()


def removable(module: Any, name: str, naive: Callable[..., Any], check: str = "") -> None:
    """Put a switch in the place of a function: the real one, or a naive one while its defence is removed."""
    real = getattr(module, name)

    @functools.wraps(real)
    def switch(*arguments: Any, **options: Any) -> Any:
        return (naive if removed(check or name) else real)(*arguments, **options)

    setattr(module, name, switch)


def naive_signature(token: str, key: Any) -> None:
    """Believe the header: no signature where it says none, the public key as a shared secret where it says HS256."""
    header = jwt.get_unverified_header(token)
    if header["alg"] == "HS256":
        body, _, signature = token.rpartition(".")
        secret = key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert hmac.compare_digest(
            jwt.utils.base64url_decode(signature), hmac.new(secret, body.encode(), sha256).digest()
        )


def naive_key(header: Any, keys: Any) -> Any:
    return keys[0]


def naive_json(data: bytes, most: int = 0) -> Any:
    return json.loads(data)


def remove_on_demand() -> None:
    """A switch for each defence that an attack has a positive control for."""
    nothing = lambda *_: None  # noqa: E731
    for name in (
        "check_algorithm",
        "check_issuer",
        "check_audience",
        "check_nonce",
        "check_time",
        "check_access_token",
    ):
        removable(id_token, name, nothing)
    removable(id_token, "check_signature", naive_signature)
    removable(id_token, "key_for", naive_key)
    for module in (id_token, provider):
        removable(module, "read_object", naive_json, "strict_json")
    removable(provider, "bounded", lambda found: found)
    removable(provider, "check_same_subject", nothing)
    removable(provider, "groups_of", lambda found, rules: ("students-hbo",))
    removable(oidc_pages, "onward", lambda address: address)
    removable(oidc_pages, "safe_return", lambda address, otherwise: address or otherwise, "onward")
    removable(login_state.Used, "first_time", lambda self, state: True)
    removable(oidc_pages.CallbackHandler, "check_state", believe_any_state)
    removable(oidc_pages.CallbackHandler, "check_issuer", nothing, "check_callback_issuer")
    removable(provider.Provider, "user_info_to_username", lambda self, info: info["chosen"])
    keep_claims()
    removable(oidc.OidcAuthenticator, "check_allowed", lambda self, name, model=None: True)


def believe_any_state(handler: Any) -> None:
    """Take whatever state the browser has, whether or not it is the one that comes back; PKCE's verifier too."""
    found = handler.authenticator.begun[handler.get_argument("state")]
    handler.login_state = found
    handler._state_cookie = oidc_pages._serialize_state({"code_verifier": found.code_verifier})


def keep_claims() -> None:
    """Tell the naive choice of a name what the provider would like it to be; remember logins for the naive state."""
    real_claims, real_state = provider.Provider.claims, oidc_pages.LoginState

    async def with_choice(self: Any, tokens: Any) -> Any:
        found = await real_claims(self, tokens)
        self.chosen = found.get("preferred_username")
        return found

    provider.Provider.claims = with_choice
    real_user = provider.Provider.token_to_user

    async def user(self: Any, info: Any) -> Any:
        return {**await real_user(self, info), "chosen": self.chosen}

    provider.Provider.token_to_user = user

    def begin(*arguments: Any, **options: Any) -> Any:
        made = real_state(*arguments, **options)
        GuardedHub.instance().authenticator.begun[made.state_id] = made
        return made

    oidc_pages.LoginState = begin
    oidc.OidcAuthenticator.begun = {}


class TinySpawner(SimpleLocalProcessSpawner):
    """A server that only answers; what it would do is no part of these tests."""

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        return {**super().user_env(env), "HOME": str(ROOT)}

    async def start(self) -> Any:
        while (ROOT / "wait").exists():  # noqa: ASYNC110  # another process makes the file
            await asyncio.sleep(0.05)
        return await super().start()

    async def stop(self, now: bool = False) -> None:
        while (ROOT / "wait-stop").exists():  # noqa: ASYNC110  # another process makes the file
            await asyncio.sleep(0.05)
        await super().stop(now)


def described() -> Site:
    """The demo site with this login."""
    plain = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    plain["hub"] = {"bind": "127.0.0.1", "port": SETTINGS["port"], "domain": SETTINGS["domain"]}
    plain["hub"]["https"] = SETTINGS.get("https", False)
    return Site.of_plain({**plain, "login": SETTINGS["login"]})


def settings() -> Config:
    c = Config()
    site, state = described(), State(ROOT / "state")
    state.make()
    assert isinstance(site.login, OidcLoginSettings)
    oidc.configure(c, site, site.login, state, Audit(open_ledger(site, state)))
    c.JupyterHub.template_vars = template_vars({"nl": "Leerlab", "en": "Leerlab"}, demo=False)
    c.JupyterHub.bind_url = f"http://127.0.0.1:{site.hub.port}"
    c.JupyterHub.subdomain_host = site.hub.address
    https.set_https(c, site)
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{SETTINGS['hub_port']}"
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{SETTINGS['proxy_api']}"
    c.ConfigurableHTTPProxy.auth_token = SETTINGS["proxy_token"]
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.db_url = for_sqlalchemy(SETTINGS.get("database") or f"sqlite:///{ROOT}/hub.sqlite")
    c.JupyterHub.cookie_secret_file = str(ROOT / "cookie")
    c.JupyterHub.spawner_class = TinySpawner
    c.SimpleLocalProcessSpawner.home_dir_template = f"{ROOT}/homes/{{username}}"
    c.JupyterHub.default_url = "/hub/token"
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0, **https.cookie_settings(site)}
    c.Spawner.cmd = [sys.executable, str(HERE / "tiny_server.py")]
    c.Spawner.env_keep = ["PATH"]
    c.Spawner.poll_interval = 1
    c.JupyterHub.services = [{"name": "look", "api_token": SETTINGS["look_token"]}]
    c.JupyterHub.load_roles = [
        {
            "name": "look",
            "scopes": ["list:users", "read:users", "admin:users", "servers", "tokens", "read:servers"],
            "services": ["look"],
        }
    ]
    standing.FRESH_SECONDS = SETTINGS.get("fresh_seconds", standing.FRESH_SECONDS)
    standing.SILENCE_SECONDS = SETTINGS.get("silence_seconds", standing.SILENCE_SECONDS)
    provider.ANSWER_SECONDS = SETTINGS.get("answer_seconds", provider.ANSWER_SECONDS)
    remove_on_demand()
    return c


if __name__ == "__main__":
    assert claims and strict_json
    GuardedHub.instance(config=settings())
    GuardedHub.launch_instance([])
