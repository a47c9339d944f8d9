"""Servers with a name: whose they are, how many, what they may be called; on a real hub and portal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import httpx
import pytest
from portal_site import Pages, token_of, wait_for

pytestmark = pytest.mark.integration
Visitor = Callable[..., httpx.Client]
SECONDS = 60
HOSTILE = [
    "GPU", "a b", "..", "../x", "a/b", "a%2fb", "-a", "a-", "1a", "a.b", "a_b", "\u00e9", "a\n", "a;id", "<b>",
    "a" * 21, "--wrap=id", "$(id)",
]  # fmt: skip


@pytest.fixture
def inside(visitor: Visitor, pages: Pages) -> Iterator[Callable[[str], httpx.Client]]:
    """Makes browsers that are logged in at the portal."""

    pages.steer(go=None, fail=None, choices=None)

    def make(name: str) -> httpx.Client:
        browser = visitor(name)
        assert browser.get(f"{pages.portal}/", follow_redirects=True).status_code == 200
        return browser

    yield make
    pages.steer(go=None)
    # What a test that failed has left.
    sanne = make("sanne")
    for name in set(re.findall(r'name="server" value="([^"]+)"', home(sanne, pages))):
        remove(sanne, pages, name)


def home(browser: httpx.Client, pages: Pages) -> str:
    return browser.get(f"{pages.portal}/?changed=1").text


def post(browser: httpx.Client, pages: Pages, path: str, **form: str) -> httpx.Response:
    token = token_of(browser.get(f"{pages.portal}/").text)
    return browser.post(f"{pages.portal}{path}", data={"_xsrf": token, **form}, headers={"Origin": pages.portal})


def begin(browser: httpx.Client, pages: Pages, name: str) -> httpx.Response:
    """Ask for a server of this name as the home page's form does, and go where it leads."""
    answer = post(browser, pages, "/servers/new", server=name)
    if answer.status_code != 303:
        return answer
    path = urlsplit(answer.headers["location"])
    return browser.get(f"{path.path}?{path.query}")


def remove(browser: httpx.Client, pages: Pages, name: str) -> None:
    assert post(browser, pages, "/servers/sanne/forget", server=name).status_code == 303
    wait_for(lambda: f"Werkplek {name}" not in home(browser, pages), SECONDS, lambda: home(browser, pages))


def test_a_person_makes_one_sees_it_stops_it_and_removes_it(
    inside: Callable[[str], httpx.Client], pages: Pages
) -> None:
    sanne = inside("sanne")
    assert "Nog een werkplek" in home(sanne, pages)
    answer = begin(sanne, pages, "gpu")
    assert answer.status_code == 302 and "/hub/spawn-pending/sanne/gpu" in answer.headers["location"]
    wait_for(lambda: "Werkplek gpu" in home(sanne, pages), SECONDS, lambda: home(sanne, pages))
    # The page on its start withdraws this start, not the first server's.
    assert 'action="/hub/stop/sanne/gpu"' in sanne.get("/hub/spawn-pending/sanne/gpu").text
    # The first server is another one, and its start too.
    assert sanne.get("/hub/spawn/sanne").status_code == 302
    assert post(sanne, pages, "/servers/sanne/stop", server="gpu").status_code == 303
    wait_for(lambda: "Gestopt. Je bestanden" in home(sanne, pages), SECONDS, lambda: home(sanne, pages))
    assert "Je werkplek wordt klaargezet" in home(sanne, pages)
    assert post(sanne, pages, "/servers/sanne/stop").status_code == 303
    assert f"{pages.address}/hub/spawn/sanne/gpu?next=" in home(sanne, pages)
    remove(sanne, pages, "gpu")


@pytest.mark.attack
def test_nobody_sees_starts_stops_or_removes_another_persons_named_server(
    inside: Callable[[str], httpx.Client], pages: Pages
) -> None:
    sanne, docent = inside("sanne"), inside("docent")
    assert begin(sanne, pages, "vanmij").status_code == 302
    wait_for(lambda: "Werkplek vanmij" in home(sanne, pages), SECONDS, lambda: home(sanne, pages))
    assert "vanmij" not in home(docent, pages)
    assert post(docent, pages, "/servers/sanne/stop", server="vanmij").status_code == 404
    assert post(docent, pages, "/servers/sanne/forget", server="vanmij").status_code == 404
    for path in ("/hub/spawn/sanne/vanmij", "/hub/spawn/sanne/nog-een", "/hub/spawn-pending/sanne/vanmij"):
        assert docent.get(path).status_code in (403, 404)
    xsrf = {"_xsrf": docent.cookies.get("_xsrf", domain="", path="/hub/") or ""}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = docent.request(method, "/hub/api/users/sanne/servers/vanmij", params=xsrf, json={})
        assert answer.status_code in (403, 404), method
    form = {"_xsrf": token_of(docent.get("/hub/logout").text)}
    assert docent.post("/hub/stop/sanne/vanmij", data=form).status_code in (403, 404)
    assert "Werkplek vanmij" in home(sanne, pages)
    # The control: the same form, by who it belongs to.
    assert post(sanne, pages, "/servers/sanne/stop", server="vanmij").status_code == 303
    wait_for(lambda: "Gestopt. Je bestanden" in home(sanne, pages), SECONDS, lambda: home(sanne, pages))
    remove(sanne, pages, "vanmij")


@pytest.mark.attack
@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_plain_word_makes_nothing(
    inside: Callable[[str], httpx.Client], pages: Pages, name: str
) -> None:
    sanne = inside("sanne")
    if name.strip() == name:
        assert post(sanne, pages, "/servers/new", server=name).status_code == 400
    # A client makes another path of two dots before it asks.
    assert name == ".." or sanne.get(f"/hub/spawn/sanne/{quote(name, safe='')}").status_code >= 400
    assert "Gestopt. Je bestanden" not in home(sanne, pages) and "Werkplek " not in home(sanne, pages)


def test_nobody_has_more_than_their_groups_give(inside: Callable[[str], httpx.Client], pages: Pages) -> None:
    sanne, gast = inside("sanne"), inside("gast")
    assert begin(sanne, pages, "een").status_code == 302
    assert begin(sanne, pages, "twee").status_code == 400
    assert post(sanne, pages, "/servers/sanne/stop", server="een").status_code == 303
    wait_for(lambda: "Gestopt. Je bestanden" in home(sanne, pages), SECONDS, lambda: home(sanne, pages))
    assert begin(sanne, pages, "twee").status_code == 400, "a stopped one counts until it is removed"
    remove(sanne, pages, "een")
    assert "Nog een werkplek" not in home(gast, pages)
    assert post(gast, pages, "/servers/new", server="een").status_code == 400
    assert gast.get("/hub/spawn/gast/een").status_code == 403
