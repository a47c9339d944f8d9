"""A whole site, started by `leerlab up`, with a certified provider: from the button to a job in Slurm, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from login_site import AFFILIATION, PEOPLE, RULES, Browser, CertifiedProvider, rule, wait_for

from base.ports import free_ports
from hub_config.audit import open_ledger
from hub_config.run.keys import secret
from hub_config.slurm import slurm_of
from ledger.sandboxes import DataClass, SandboxLedger
from sandboxes.life import Request, Sandboxes
from sandboxes.risk import SelfCheck

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[CertifiedProvider]:
    made = CertifiedProvider(tmp_path, free_ports(1)[0], [])
    made.write(PEOPLE)
    yield made
    made.stop()


def jobs_of(site: Any) -> int:
    """How many jobs of this site Slurm has waiting or running."""
    queue = asyncio.run(slurm_of(site.site, site.state).queue())
    return sum(not job.state.ended for job in queue.jobs)


def hub_of(site: Any, method: str, path: str) -> httpx.Response:
    """The hub's API with the portal's own token."""
    transport = httpx.HTTPTransport(uds=str(site.state.run / "hub.sock"))
    headers = {"Authorization": f"token {secret(site.state, 'portal-token')}"}
    with httpx.Client(transport=transport, base_url="http://hub/hub/api/", timeout=150) as client:
        return client.request(method, path, headers=headers)


def sandbox_of(site: Any, person: str) -> str:
    """A sandbox of this person's, and its id."""
    with closing(open_ledger(site.site, site.state)) as ledger:
        check = SelfCheck(forbidden=False, people=False, preparing=False, product=False, talks=False, personal=False)
        request = Request("Pompen", "Zien.", "water", DataClass.OPEN, 5, check)
        return Sandboxes(SandboxLedger(ledger), site.state, site.site.sandboxes).request(person, request).id


def test_a_student_comes_in_starts_a_notebook_and_loses_it_with_the_claim(
    new_site: Callable[..., Any], provider: CertifiedProvider, tmp_path: Path
) -> None:
    kept = tmp_path / "secret"
    kept.write_text("whole-site-secret-4711\n")
    kept.chmod(0o600)
    login = {
        "kind": "oidc", "check_every": "2s",
        "providers": [{
            "id": "surf", "preset": "surfconext", "issuer": provider.issuer, "client_id": "leerlab",
            "client_secret_file": str(kept), "rules": RULES,
        }],
    }  # fmt: skip
    site = new_site(login=login)
    callback = f"{site.address}/hub/oidc/surf/callback"
    provider.clients = [
        {"client_id": "leerlab", "client_secret": "whole-site-secret-4711", "redirect_uris": [callback]}
    ]
    provider.start()
    site.leerlab("up")
    assert "the way to surf is open" in site.leerlab("doctor", check=False).stdout
    assert site.leerlab("key").stdout.strip() == f"{site.address}/hub/login"
    with Browser(SimpleNamespace(address=site.address)) as browser:  # type: ignore[arg-type]
        assert browser.log_in("anna-7f3a").status_code == 302
        name = browser.name
        home = browser.get("/hub/home", follow_redirects=True)
        assert home.status_code == 200 and "Anna de Vries" in home.text and "AI in je vak" in home.text
        started = browser.post(
            f"/hub/api/users/{name}/server", json={"profile": "cpu-small"}, headers={"X-XSRFToken": browser.xsrf()}
        )
        assert started.status_code in (201, 202), started.text
        own = f"http://{name}.{site.site.hub.host}/user/{name}/api"
        wait_for("the notebook", lambda: browser.get(own).status_code == 200, 60)
        assert jobs_of(site) == 1
        gone = {**PEOPLE, "anna-7f3a": {**PEOPLE["anna-7f3a"], "eduperson_affiliation": ["alum"]}}
        provider.write(gone)
        wait_for("the session ends", lambda: not browser.logged_in, 30)
        wait_for("the notebook is gone", lambda: browser.get(own).status_code != 200, 30)
        home = browser.get("/hub/home", follow_redirects=True)
        assert "Mijn cursussen" not in home.text and "Inloggen met SURFconext" in home.text
        wait_for("the job is gone", lambda: jobs_of(site) == 0, 30)
    found = [path for path in site.state.root.rglob("*.log") if "whole-site-secret" in path.read_text(errors="replace")]
    assert found == []


def test_who_leaves_the_company_loses_the_server_in_its_sandbox_and_keeps_the_other(
    new_site: Callable[..., Any], provider: CertifiedProvider, tmp_path: Path
) -> None:
    kept = tmp_path / "secret"
    kept.write_text("whole-site-secret-4711\n")
    kept.chmod(0o600)
    mila = {"name": "Mila", "eduperson_affiliation": ["affiliate", "student"]}
    login = {
        "kind": "oidc", "check_every": "2s",
        "providers": [{
            "id": "surf", "preset": "surfconext", "issuer": provider.issuer, "client_id": "leerlab",
            "client_secret_file": str(kept), "rules": [*RULES, rule(AFFILIATION, "contains", "affiliate", "companies")],
        }],
    }  # fmt: skip
    site = new_site(login=login)
    callback = f"{site.address}/hub/oidc/surf/callback"
    provider.clients = [
        {"client_id": "leerlab", "client_secret": "whole-site-secret-4711", "redirect_uris": [callback]}
    ]
    provider.write({**PEOPLE, "mila-33aa": mila})
    provider.start()
    site.leerlab("up")
    with Browser(SimpleNamespace(address=site.address)) as browser:  # type: ignore[arg-type]
        assert browser.log_in("mila-33aa").status_code == 302
        name = browser.name
        box = f"box-{sandbox_of(site, name)}-{name}"
        assert hub_of(site, "POST", "leerlab/sandboxes").status_code == 204
        for account in (name, box):
            headers = {"X-XSRFToken": browser.xsrf()}
            started = browser.post(f"/hub/api/users/{account}/server", json={}, headers=headers)
            assert started.status_code in (201, 202), started.text

        def ready(account: str) -> bool:
            return bool(hub_of(site, "GET", f"users/{account}").json().get("servers", {}).get("", {}).get("ready"))

        wait_for("both servers", lambda: ready(name) and ready(box), 60)
        provider.write({**PEOPLE, "mila-33aa": {**mila, "eduperson_affiliation": ["student"]}})
        wait_for("the server in the sandbox is gone", lambda: jobs_of(site) == 1, 100)
        assert ready(name) and browser.logged_in
        wait_for("its account too", lambda: hub_of(site, "GET", f"users/{box}").status_code == 404, 30)
        headers = {"X-XSRFToken": browser.xsrf()}
        assert browser.post(f"/hub/api/users/{box}/server", json={}, headers=headers).status_code in (403, 404)
        # A company's again: the files are as they were, and the server starts.
        provider.write({**PEOPLE, "mila-33aa": mila})
        wait_for("the group", lambda: "companies" in hub_of(site, "GET", f"users/{name}").json()["groups"], 30)
        assert hub_of(site, "POST", "leerlab/sandboxes").status_code == 204
        headers = {"X-XSRFToken": browser.xsrf()}
        assert browser.post(f"/hub/api/users/{box}/server", json={}, headers=headers).status_code in (201, 202)
