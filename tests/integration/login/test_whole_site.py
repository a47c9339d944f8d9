"""A whole site, started by `leerlab up`, with a certified provider: from the button to a job in Slurm, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from login_site import PEOPLE, RULES, Browser, CertifiedProvider, wait_for

from base.ports import free_ports
from hub_config.slurm import slurm_of

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


def test_a_student_comes_in_starts_a_notebook_and_loses_it_with_the_claim(
    new_site: Callable[..., Any], provider: CertifiedProvider, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whole-site-secret-4711\n")
    secret.chmod(0o600)
    login = {
        "kind": "oidc", "check_every": "2s",
        "providers": [{
            "id": "surf", "preset": "surfconext", "issuer": provider.issuer, "client_id": "leerlab",
            "client_secret_file": str(secret), "rules": RULES,
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
