"""JupyterHub's rarer pages, rendered with the values that JupyterHub 6.1.1's handlers give them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
