"""A site behind a TLS proxy: its addresses, its names and its cookies."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.settings import SiteSettings
from grading.settings import GradingSettings
from hub_config.login.hosts import HostRule, Hosts
from hub_config.settings import HubSettings
from portal.configuration import PortalConfiguration
from portal.hub import Hub, hub_client
from portal.login import Login
from portal.sessions import Sessions

DOMAIN = "leer.example.nl"


def settings(*, https: bool) -> HubSettings:
    return HubSettings(domain=DOMAIN, https=https)


def test_addresses_have_no_port_and_are_encrypted() -> None:
    hub = settings(https=True)
    assert hub.address == "https://leer.example.nl"
    assert hub.origin("portal") == "https://portal.leer.example.nl"
    assert settings(https=False).origin("portal") == "http://portal.leer.example.nl:8000"


@pytest.mark.parametrize("host", [f"{DOMAIN}:8000", f"sanne.{DOMAIN}:443", f"evil.{DOMAIN}", "evil.example"])
def test_only_names_as_browsers_send_them_there_are_answered(host: str) -> None:
    hosts = Hosts.of(DOMAIN, 8000, ["sanne"], "127.0.0.1", https=True)
    assert hosts.rule(DOMAIN, "/hub/home") is HostRule.ANSWER
    assert hosts.rule(f"sanne.{DOMAIN}", "/user/sanne/lab") is HostRule.ANSWER
    assert hosts.rule(f"sanne.{DOMAIN}", "/hub/home") is HostRule.SEND_HOME
    assert hosts.home == "https://leer.example.nl"
    assert hosts.rule(host, "/hub/home") is HostRule.REFUSE


def portal(tmp_path: Path, *, https: bool) -> PortalConfiguration:
    return PortalConfiguration(
        state=tmp_path, site=SiteSettings(name="school"), demo=False, domain=DOMAIN, port=8000, https=https,
        listen=9000, hub="unix:/run/hub.sock", hub_id="0" * 12, token_file=tmp_path / "token", courses=(), profiles=(),
        grading=GradingSettings(profile="cpu"), slurm_conf=tmp_path / "slurm.conf", ledger="sqlite:////x",
        ledger_key=tmp_path / "key",
    )  # fmt: skip


def test_the_portal_knows_its_own_origin(tmp_path: Path) -> None:
    configuration = portal(tmp_path, https=True)
    assert (configuration.host, configuration.origin) == ("portal.leer.example.nl", "https://portal.leer.example.nl")
    assert configuration.hub_origin == "https://leer.example.nl"
    assert portal(tmp_path, https=False).hub_origin == "http://leer.example.nl:8000"


@pytest.mark.parametrize("https", [True, False])
async def test_the_portals_login_cookie_is_secure_over_https(tmp_path: Path, *, https: bool) -> None:
    from starlette.requests import Request

    client = hub_client("unix:/run/hub.sock")
    login = Login(portal(tmp_path, https=https), Hub(client, "token"), Sessions())
    scope = {"type": "http", "method": "GET", "path": "/login", "query_string": b"", "headers": []}
    answer = await login.begin(Request(scope))
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and ("Secure" in cookie) is https
    assert ("https%3A%2F%2Fportal.leer.example.nl%2Foauth_callback" in answer.headers["location"]) is https
    await client.aclose()
