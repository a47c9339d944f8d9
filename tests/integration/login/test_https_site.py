"""A whole site behind a TLS proxy: people come by https, cookies are Secure, a notebook is at its own origin."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from login_site import PEOPLE, RULES, Browser, CertifiedProvider, LoginSite, start_site, stop_site, wait_for

from base.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]
DOMAIN = "leer.example"
NAMES = f"DNS:{DOMAIN},DNS:*.{DOMAIN}"


class ThroughTls(httpx.BaseTransport):
    """Leads https to the site's TLS proxy, whose certificate must be right, and all else to this machine."""

    def __init__(self, port: int, authority: Path) -> None:
        self._port = port
        self._tls = httpx.HTTPTransport(verify=ssl.create_default_context(cafile=str(authority)))
        self._plain = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        encrypted = request.url.scheme == "https"
        here = request.url.copy_with(host="127.0.0.1", port=self._port if encrypted else request.url.port)
        extensions = {**request.extensions, **({"sni_hostname": request.url.host} if encrypted else {})}
        sent = httpx.Request(
            request.method, here, headers=request.headers, stream=request.stream, extensions=extensions
        )
        return (self._tls if encrypted else self._plain).handle_request(sent)

    def close(self) -> None:
        self._tls.close()
        self._plain.close()


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[CertifiedProvider]:
    made = CertifiedProvider(tmp_path, free_ports(1)[0], [])
    made.write(PEOPLE)
    yield made
    made.stop()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """For the domain and every name below it; its own authority."""
    made = tmp_path / "tls.pem"
    subprocess.run(
        ["/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName={NAMES}",
         "-keyout", str(tmp_path / "tls.key"), "-out", str(made)],
        capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    return made


@pytest.fixture
def tls(certificate: Path, tmp_path: Path) -> Iterator[Callable[[int], int]]:
    """Starts a TLS proxy that passes on to a port and adds no header; gives its own port."""
    started: list[subprocess.Popen[bytes]] = []

    def start(to: int) -> int:
        port = free_ports(1)[0]
        file = tmp_path / "proxy.conf"
        file.write_text(
            f"foreground = yes\nsyslog = no\npid =\noutput = {tmp_path}/proxy.log\n[https]\naccept = 127.0.0.1:{port}\n"
            f"connect = 127.0.0.1:{to}\ncert = {certificate}\nkey = {tmp_path}/tls.key\nTIMEOUTclose = 0\n"
        )
        started.append(subprocess.Popen(["/usr/bin/stunnel4", str(file)]))
        deadline = time.monotonic() + 20
        while "Configuration successful" not in (
            (tmp_path / "proxy.log").read_text() if (tmp_path / "proxy.log").exists() else ""
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return port

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


@pytest.fixture
def hub() -> Iterator[LoginSite]:
    """A hub alone, without Slurm."""
    site = start_site(https=True, domain=DOMAIN)
    yield site
    stop_site(site)


def test_a_login_by_https_leaves_cookies_that_only_https_brings_back(
    hub: LoginSite, certificate: Path, tls: Callable[[int], int]
) -> None:
    port = tls(hub.port)
    with hub.browser() as browser:
        browser._transport = ThroughTls(port, certificate)
        assert browser.log_in("anna-7f3a").status_code == 302
        assert browser.logged_in
        ours = [cookie for cookie in browser.cookies.jar if DOMAIN in cookie.domain]
        assert {cookie.name for cookie in ours} >= {"__Host-jupyterhub-hub-login", "jupyterhub-session-id"}
        assert all(cookie.secure for cookie in ours), [cookie.name for cookie in ours if not cookie.secure]
        away = browser.get(f"https://{browser.name}.{DOMAIN}/hub/token")
        assert away.headers["location"] == f"https://{DOMAIN}/hub/token"
        foreign = browser.get("/hub/login", headers={"Host": f"{DOMAIN}:{hub.port}"})
        assert foreign.status_code == 403


@pytest.mark.slow
def test_a_student_comes_by_https_and_every_cookie_is_for_https_alone(
    new_site: Callable[..., Any], provider: CertifiedProvider, tmp_path: Path, certificate: Path,
    tls: Callable[[int], int],
) -> None:  # fmt: skip
    secret = tmp_path / "secret"
    secret.write_text("https-site-secret-4711\n")
    secret.chmod(0o600)
    login = {"kind": "oidc", "providers": [{
        "id": "surf", "preset": "surfconext", "issuer": provider.issuer, "client_id": "leerlab",
        "client_secret_file": str(secret), "rules": RULES,
    }]}  # fmt: skip
    site = new_site(login=login, hub={"port": free_ports(1)[0], "domain": DOMAIN, "https": True})
    assert site.address == "https://leer.example"
    provider.clients = [{
        "client_id": "leerlab", "client_secret": "https-site-secret-4711",
        "redirect_uris": [f"{site.address}/hub/oidc/surf/callback"],
    }]  # fmt: skip
    provider.start()
    site.leerlab("up")
    assert site.leerlab("key").stdout.strip() == "https://leer.example/hub/login"
    port = tls(site.site.hub.port)
    with Browser(SimpleNamespace(address=site.address)) as browser:  # type: ignore[arg-type]
        browser._transport = ThroughTls(port, certificate)
        assert browser.log_in("anna-7f3a").status_code == 302
        name = browser.name
        home = browser.get("/hub/home", follow_redirects=True)
        assert home.status_code == 200 and "Anna de Vries" in home.text
        assert str(home.url).startswith("https://portal.leer.example/")
        started = browser.post(
            f"/hub/api/users/{name}/server", json={"profile": "cpu-small"}, headers={"X-XSRFToken": browser.xsrf()}
        )
        assert started.status_code in (201, 202), started.text
        own = f"https://{name}.{DOMAIN}/user/{name}"
        wait_for("the notebook", lambda: browser.get(f"{own}/api").status_code == 200, 60)
        assert browser.get(f"{own}/lab", follow_redirects=True).status_code == 200
        kept = {f"{one.name} {one.path}": one for one in browser.cookies.jar if DOMAIN in one.domain}
        assert f"_xsrf /user/{name}/" in kept
        assert "__Host-leerlab-portal /" in kept
        assert any(each.startswith("__Host-jupyterhub-session") or each.startswith("__Host-") for each in kept)
        ours = {each: cookie.secure for each, cookie in kept.items()}
        assert all(ours.values()), ours
        # Without https the same names answer nobody who did not come through the proxy with them.
        bare = httpx.get(f"http://127.0.0.1:{site.site.hub.port}/hub/login", headers={"Host": f"{DOMAIN}:8000"})
        assert bare.status_code == 403
