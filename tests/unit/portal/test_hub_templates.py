"""JupyterHub's rarer pages, rendered with the values that JupyterHub 6.1.1's handlers give them."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from base.messages import Message
from portal import request
from portal.assets import HUB_TEMPLATES, TEMPLATES
from portal.hub_pages import person
from portal.language import PageLanguage

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def hub() -> Environment:
    request.enter({}, '/hub/x?next="><script>', "nl")
    return Environment(
        loader=FileSystemLoader([HUB_TEMPLATES, TEMPLATES]),
        autoescape=True,
        extensions=[PageLanguage],
        undefined=StrictUndefined,
    )


SHELL = {
    "base_url": "/hub/",
    "person": None,
    "xsrf": "x",
    "site_title": "Leerlab",
    "demo": True,
    "login_url": "/hub/login",
}


def test_an_invitation_names_its_owner_and_escapes_it(hub: Environment) -> None:
    html = hub.get_template("accept-share.html").render(
        SHELL,
        owner=SimpleNamespace(name=HOSTILE),
        spawner_url="/user/a/",
        spawner_ready=False,
        code="c",
        scope_descriptions=[{"description": "Access", "filter": ""}],
    )
    assert "nodigt je uit" in html and "De server draait nu niet" in html and HOSTILE not in html


def test_a_stopping_server_says_so_and_looks_again(hub: Environment) -> None:
    html = hub.get_template("stop_pending.html").render(SHELL)
    assert "Je werkplek stopt" in html and 'http-equiv="refresh"' in html


def test_a_message_is_text(hub: Environment) -> None:
    assert HOSTILE not in hub.get_template("message.html").render(SHELL, message=HOSTILE)


def test_the_address_in_the_language_switch_cannot_leave_its_attribute(hub: Environment) -> None:
    assert '"><script>' not in hub.get_template("message.html").render(SHELL, message="x")


def test_an_errors_message_is_text_and_jupyterhubs_html_is_not_used(hub: Environment) -> None:
    html = hub.get_template("error.html").render(
        SHELL, status_code=500, status_message="x", message=HOSTILE, message_html=HOSTILE, extra_error_html=HOSTILE
    )
    assert HOSTILE not in html and "Er ging iets mis" in html


def test_the_person_in_the_header_is_called_by_title() -> None:
    assert person(SimpleNamespace(kind="user", name="sanne", user_info={"title": "Sanne"})).title == "Sanne"  # type: ignore[union-attr]
    assert person(SimpleNamespace(kind="user", name="sanne", user_info=None)).title == "sanne"  # type: ignore[union-attr]
    assert person(SimpleNamespace(kind="service", name="grading")) is None
    assert person(None) is None


class Waiting:
    """A spawner whose start waits, and which offers something else, as `spawners.telling` does."""

    name = ""
    last_message = Message("start.waiting.priority", {"waited": 5, "position": 4})

    async def offers(self) -> list[Any]:
        return [SimpleNamespace(id="cpu-small", title=SimpleNamespace(nl=HOSTILE, en="Ordinary"))]


async def page(hub: Environment, name: str, **values: object) -> str:
    """A page as JupyterHub renders it: in an environment that awaits."""
    return await hub.overlay(enable_async=True).get_template(name).render_async(SHELL, **values)


async def test_who_waits_without_scripts_sees_reason_place_and_offers_too(hub: Environment) -> None:
    request.enter({}, "/hub/spawn-pending/sanne?next=/user/sanne/lab&taken=no", "nl")
    user = SimpleNamespace(escaped_name="sanne")
    html = await page(hub, "spawn_pending.html", user=user, spawner=Waiting(), progress_url="/p")
    assert "Anderen zijn eerst aan de beurt" in html and "<dd>4</dd>" in html
    assert 'action="/hub/switch/sanne"' in html and 'name="profile" value="cpu-small"' in html
    assert 'name="next" value="/user/sanne/lab"' in html
    assert "“&lt;script&gt;alert(1)&lt;/script&gt;” starten" in html and HOSTILE not in html
    assert "Er is niets veranderd: je houdt je plaats" in html


@pytest.mark.parametrize("code", ["preempted", "node", "time", "memory", "cancelled", "itself", "unknown", "idle"])
async def test_who_comes_back_reads_why_the_workplace_is_gone(hub: Environment, code: str) -> None:
    ended = SimpleNamespace(message=Message(f"server.ended.{code}"), at=datetime.now(UTC))
    spawner = SimpleNamespace(last_end=ended, last_end_log=HOSTILE)
    user = SimpleNamespace(spawners={"": spawner})
    html = await page(hub, "not_running.html", user=user, server_name="", spawn_url="/hub/spawn/sanne", failed=False)
    assert "Wat je hebt opgeslagen, is veilig" in html and HOSTILE not in html and "alert(1)" in html


async def test_who_has_not_started_anything_reads_that(hub: Environment) -> None:
    user = SimpleNamespace(spawners={"": SimpleNamespace(last_end=None)})
    html = await page(hub, "not_running.html", user=user, server_name="", spawn_url="/hub/spawn/sanne", failed=False)
    assert "nog niet gestart" in html
