"""Every role over every route of the real portal; sessions, forms and names, attacked with positive controls."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from portal_site import MARKUP, PEOPLE, Pages, choose, token_of

from portal.access import TABLE, Entry, Who, refused
from portal.login import SESSION_COOKIE
from portal.people import Visitor as Somebody

pytestmark = pytest.mark.integration
Visitor = Callable[..., httpx.Client]
COURSES = frozenset({"ai-in-je-vak", "voorspel-onderhoud"})
GROUPS = {name: frozenset(groups) for name, _, groups in PEOPLE}
READ = [name for name, entry in TABLE.items() if entry.method == "GET" and entry.who is not Who.ANYBODY]
WRITE = [name for name, entry in TABLE.items() if entry.method == "POST"]
PARAMETERS = {"course": "ai-in-je-vak", "owner": "nobody", "sandbox": "aaaaaaaa", "act": "end", "transfer": "0" * 16}


@pytest.fixture
def inside(visitor: Visitor, pages: Pages) -> Iterator[Callable[..., httpx.Client]]:
    """Makes browsers that are logged in at the portal."""

    def make(name: str, **options: Any) -> httpx.Client:
        browser = visitor(name, **options)
        assert browser.get(f"{pages.portal}/", follow_redirects=True).status_code == 200
        return browser

    return make


def path_of(entry: Entry) -> str:
    return entry.path.format(**PARAMETERS)


def session_of(browser: httpx.Client) -> str:
    return next(cookie.value or "" for cookie in browser.cookies.jar if cookie.name == SESSION_COOKIE)


def form_of(browser: httpx.Client, pages: Pages) -> dict[str, str]:
    return {"_xsrf": token_of(browser.get(f"{pages.portal}/").text)}


def post(browser: httpx.Client, pages: Pages, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
    return browser.post(f"{pages.portal}{path}", data=form, headers={"Origin": pages.portal, **headers})


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_every_role_reads_what_the_table_gives_it_and_nothing_else(inside: Visitor, pages: Pages, name: str) -> None:
    browser, person = inside(name), Somebody(name, name, GROUPS[name])
    for route in READ:
        entry = TABLE[route]
        # Nobody is a member of a sandbox that does not exist.
        status = 404 if entry.who is Who.MEMBER else refused(entry, person, PARAMETERS, COURSES) or 200
        with browser.stream("GET", f"{pages.portal}{path_of(entry)}") as answer:
            assert answer.status_code == status, (name, route)


@pytest.mark.parametrize("route", [*READ, *WRITE])
def test_who_is_not_logged_in_gets_no_page(pages: Pages, route: str) -> None:
    entry = TABLE[route]
    with pages.browser() as browser:
        headers = {"Origin": pages.portal}
        answer = browser.request(entry.method, f"{pages.portal}{path_of(entry)}", headers=headers)
    assert answer.status_code in (302, 303, 401)
    assert answer.status_code == 401 or answer.headers["location"].startswith("/login?")


@pytest.mark.attack
# Those of a sandbox, which needs one to be a member of: test_a_forged_form_leaves_a_sandbox_as_it_is.
@pytest.mark.parametrize("route", [name for name in WRITE if TABLE[name].who is not Who.MEMBER])
@pytest.mark.parametrize("forged", ["none", "empty", "other", "persons"])
def test_a_form_without_this_sessions_token_changes_nothing(
    inside: Visitor, pages: Pages, route: str, forged: str
) -> None:
    who = {Who.COMPANY: "bakker", Who.OPERATOR: "beheer", Who.TEACHER: "docent"}.get(TABLE[route].who, "sanne")
    browser = inside(who)
    tokens = {
        "none": {"next": "/"},
        "empty": {"_xsrf": ""},
        "other": {"_xsrf": "x" * 43},
        "persons": form_of(inside("docent" if who != "docent" else "sanne"), pages),
    }
    assert post(browser, pages, path_of(TABLE[route]), tokens[forged]).status_code == 403
    # Positive control: the same form with this session's own token is taken.
    assert post(browser, pages, path_of(TABLE[route]), form_of(browser, pages)).status_code in (303, 400, 404)


@pytest.mark.attack
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://sanne.leerlab.localhost:{port}", "http://leerlab.localhost:{port}"])  # fmt: skip  # noqa: E501
def test_a_form_of_another_origin_changes_nothing(inside: Visitor, pages: Pages, origin: str) -> None:
    browser = inside("sanne")
    form = form_of(browser, pages)
    answer = post(browser, pages, "/logout", form, Origin=origin.format(port=pages.port))
    assert answer.status_code == 403
    assert browser.get(f"{pages.portal}/").status_code == 200, "still logged in"
    # Positive control: the same form and token from our own origin.
    assert post(browser, pages, "/logout", form).headers["location"] == f"{pages.address}/hub/logout"


@pytest.mark.attack
def test_a_session_id_that_somebody_else_chose_is_never_taken_over(
    inside: Visitor, visitor: Visitor, pages: Pages
) -> None:
    browser = visitor("sanne")
    browser.cookies.set(SESSION_COOKIE, "A" * 43, domain=f"portal.{pages.domain}", path="/")
    home = browser.get(f"{pages.portal}/", follow_redirects=True)
    assert home.status_code == 200
    fresh = [cookie.value for cookie in browser.cookies.jar if cookie.name == SESSION_COOKIE]
    assert "A" * 43 not in fresh
    with pages.browser() as thief:
        thief.cookies.set(SESSION_COOKIE, "A" * 43, domain=f"portal.{pages.domain}", path="/")
        assert thief.get(f"{pages.portal}/").status_code == 303
        # Positive control: with the id that the portal itself chose, the same request shows the page.
        thief.cookies.set(SESSION_COOKIE, str(fresh[0]), domain=f"portal.{pages.domain}", path="/")
        assert "Dag Sanne" in thief.get(f"{pages.portal}/").text


@pytest.mark.attack
def test_a_cookie_that_another_origin_of_the_domain_added_logs_nobody_in_as_somebody_else(
    inside: Visitor, pages: Pages
) -> None:
    victim, attacker = inside("sanne"), inside("docent")
    both = f"{SESSION_COOKIE}={session_of(attacker)}; {SESSION_COOKIE}={session_of(victim)}"
    with pages.browser() as browser:
        tossed = browser.get(f"{pages.portal}/", headers={"Cookie": both})
        assert tossed.status_code == 303 and "Docent" not in tossed.text
    # Positive control: one cookie alone is a session.
    alone = inside("docent")
    with pages.browser() as browser:
        shown = browser.get(f"{pages.portal}/", headers={"Cookie": f"{SESSION_COOKIE}={session_of(alone)}"})
        assert "Mevrouw Bakker" in shown.text


@pytest.mark.attack
@pytest.mark.parametrize("goal", ["https://evil.example/", "//evil.example/", "/\\evil.example", "/%09/evil.example", "javascript:alert(1)"])  # fmt: skip  # noqa: E501
def test_logging_in_stopping_and_switching_language_lead_to_no_other_site(
    inside: Visitor, pages: Pages, goal: str
) -> None:
    browser = inside("sanne")
    home = urlsplit(pages.portal).netloc

    def ends_at(answer: httpx.Response) -> str:
        while answer.has_redirect_location and answer.next_request is not None:
            assert answer.next_request.url.host.endswith(pages.domain), answer.next_request.url
            answer = browser.send(answer.next_request)
        return answer.url.netloc.decode()

    assert ends_at(browser.get(f"{pages.portal}/login", params={"next": goal})) == home
    assert ends_at(browser.get(f"{pages.portal}/language", params={"to": "nl", "next": goal})) == home
    form = {**form_of(browser, pages), "next": goal}
    assert ends_at(post(browser, pages, "/servers/sanne/stop", form)) == home
    # Positive control: an address of our own is gone to.
    own = browser.get(f"{pages.portal}/language", params={"to": "nl", "next": "/courses/ai-in-je-vak"})
    assert own.headers["location"] == "/courses/ai-in-je-vak"


@pytest.mark.attack
@pytest.mark.parametrize("host", ["evil.example", "leerlab.localhost:{port}", "portal.leerlab.localhost", "portal.leerlab.localhost:1", "x.portal.leerlab.localhost:{port}"])  # fmt: skip  # noqa: E501
def test_the_portal_answers_to_its_own_name_alone(pages: Pages, host: str, inside: Visitor) -> None:
    browser = inside("sanne")
    listen = re.search(r'"listen":(\d+)', (pages.root / "portal.json").read_text())
    assert listen
    address = f"http://127.0.0.1:{listen[1]}/"
    cookie = f"{SESSION_COOKIE}={session_of(browser)}"
    answer = httpx.get(address, headers={"Host": host.format(port=pages.port), "Cookie": cookie}, timeout=20)
    assert answer.status_code == 403 and "Sanne" not in answer.text
    # Positive control: the same request with the right name.
    right = {"Host": urlsplit(pages.portal).netloc, "Cookie": cookie}
    assert "Sanne" in httpx.get(address, headers=right, timeout=20).text


@pytest.mark.attack
def test_what_others_wrote_is_text_on_every_page(inside: Visitor, pages: Pages) -> None:
    seen = ""
    for name, paths in {"sanne": ["/", "/courses/voorspel-onderhoud"], "gast": ["/"], "beheer": ["/operator"]}.items():
        browser = inside(name)
        for path in paths:
            text = browser.get(f"{pages.portal}{path}").text
            assert "<img src=x" not in text, (name, path)
            seen += text
    # Positive control: it was shown, escaped, on each of these pages, so it would have run if it were not.
    assert seen.count("&lt;img src=x") >= 8
    assert MARKUP.startswith("<img src=x onerror")


@pytest.mark.attack
def test_no_page_may_be_framed_and_no_script_of_another_runs(inside: Visitor, pages: Pages) -> None:
    browser = inside("sanne")
    for path in ("/", "/courses/ai-in-je-vak", "/nothing", "/operator", "/portal/leerlab.css"):
        headers = browser.get(f"{pages.portal}{path}").headers
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy and "unsafe" not in policy
        assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"


def test_pages_stay_in_no_cache_and_files_do(inside: Visitor, pages: Pages) -> None:
    browser = inside("sanne")
    assert browser.get(f"{pages.portal}/").headers["cache-control"] == "no-store"
    assert "immutable" in browser.get(f"{pages.portal}/portal/leerlab.css?v=1").headers["cache-control"]
    assert browser.get(f"{pages.portal}/portal/..%2Fhub.py").status_code == 404


@pytest.mark.attack
def test_a_stream_is_for_who_may_see_the_page_and_tells_of_that_person_alone(inside: Visitor, pages: Pages) -> None:
    student, guest = inside("sanne"), inside("gast")
    for page in ("/operator", "/courses/nothing", "/events", "/logout", "https://evil.example/", "//"):
        assert student.get(f"{pages.portal}/events", params={"page": page}).status_code in (403, 404), page
    assert guest.get(f"{pages.portal}/events", params={"page": "/courses/ai-in-je-vak"}).status_code == 404
    with pages.browser() as nobody:
        assert nobody.get(f"{pages.portal}/events").status_code == 401

    def first_courses(browser: httpx.Client) -> str:
        with browser.stream("GET", f"{pages.portal}/events", params={"page": "/"}) as answer:
            for line in answer.iter_lines():
                if '"courses"' in line:
                    return line
        raise AssertionError("no courses were sent")

    # Positive control: the same stream gives each person their own.
    assert "AI in je vak" in first_courses(student)
    assert "AI in je vak" not in first_courses(guest)


@pytest.mark.attack
def test_the_servers_of_others_cannot_be_stopped(inside: Visitor, pages: Pages) -> None:
    browser = inside("docent")
    for owner in ("sanne", "nobody", "course-ai-in-je-vak", "..", "sanne/servers/x"):
        answer = post(browser, pages, f"/servers/{owner}/stop", form_of(browser, pages))
        assert answer.status_code == 404, owner
    # Positive control: one's own may be stopped, also when it does not run.
    assert post(browser, pages, "/servers/docent/stop", form_of(browser, pages)).status_code == 303


@pytest.mark.attack
def test_a_login_that_this_browser_did_not_begin_is_not_finished(
    inside: Visitor, visitor: Visitor, pages: Pages
) -> None:
    attacker, victim = visitor("docent"), visitor("sanne")
    begun = attacker.get(f"{pages.portal}/login")
    callback = attacker.get(begun.headers["location"]).headers["location"]
    assert parse_qs(urlsplit(callback).query)["code"]
    assert victim.get(callback).status_code == 403
    assert "Dag Sanne" in victim.get(f"{pages.portal}/", follow_redirects=True).text
    # Positive control: the browser that began it finishes it.
    assert attacker.get(callback).status_code == 302


@pytest.mark.attack
def test_a_code_is_worth_nothing_without_the_verifier_of_its_login(visitor: Visitor, pages: Pages) -> None:
    browser = visitor("sanne")
    first = browser.get(f"{pages.portal}/login")
    code = parse_qs(urlsplit(browser.get(first.headers["location"]).headers["location"]).query)["code"][0]
    second = browser.get(f"{pages.portal}/login")
    state = parse_qs(urlsplit(second.headers["location"]).query)["state"][0]
    mixed = browser.get(f"{pages.portal}/oauth_callback", params={"code": code, "state": state})
    assert mixed.status_code == 403
    # Positive control: a code and the verifier of one and the same login.
    third = browser.get(f"{pages.portal}/login")
    assert browser.get(browser.get(third.headers["location"]).headers["location"]).status_code == 302


def test_logging_out_at_the_hub_ends_the_portal_within_seconds(inside: Visitor, pages: Pages) -> None:
    browser = inside("sanne")
    session = session_of(browser)
    page = browser.get("/hub/logout")
    browser.post("/hub/logout", data={"_xsrf": token_of(page.text)})
    pages.wait(lambda: httpx_status(pages, session) == 303, 30)


def httpx_status(pages: Pages, session: str) -> int:
    with pages.browser() as browser:
        return browser.get(f"{pages.portal}/", headers={"Cookie": f"{SESSION_COOKIE}={session}"}).status_code


def test_another_person_in_the_same_browser_is_another_person_at_the_portal(inside: Visitor, pages: Pages) -> None:
    browser = inside("sanne")
    assert choose(browser, "docent").status_code == 302
    assert "Mevrouw Bakker" in browser.get("/hub/home", follow_redirects=True).text


def test_a_form_that_is_too_large_or_of_another_kind_is_refused(inside: Visitor, pages: Pages) -> None:
    browser = inside("sanne")
    form = form_of(browser, pages)
    assert post(browser, pages, "/logout", {**form, "x": "a" * 70_000}).status_code == 413
    address, headers = f"{pages.portal}/logout", {"Origin": pages.portal}
    assert browser.post(address, json=form, headers=headers).status_code == 415
    assert browser.get(f"{pages.portal}/").status_code == 200


WISH = {
    "title": "Pompen", "purpose": "Lekken vinden", "sector": "water", "data_class": "open", "days": "5",
    "forbidden": "no", "people": "no", "preparing": "no", "product": "no", "talks": "no", "personal": "no",
}  # fmt: skip


@pytest.fixture
def box(inside: Visitor, pages: Pages) -> str:
    """A sandbox of the bakery."""
    browser = inside("bakker")
    for old in set(re.findall(r"/sandboxes/([a-z2-7]{8})", browser.get(f"{pages.portal}/").text)):
        post(browser, pages, f"/sandboxes/{old}/end", {**form_of(browser, pages), "sure": "yes"})
    answer = post(browser, pages, "/sandboxes", {**form_of(browser, pages), **WISH})
    found = re.search(r"sandboxes%2F([a-z2-7]{8})", answer.headers.get("location", ""))
    assert found, answer.text[:3000]
    return found[1]


def plain(html: str, sandbox: str) -> str:
    """A page without what differs at every answer or repeats the address."""
    return re.sub(r'value="[^"]*"|next=[^"]*', "", html).replace(sandbox, "")


@pytest.mark.attack
@pytest.mark.parametrize("act", ["", "/extend", "/end", "/invite", "/remove", "/openings"])
def test_anothers_sandbox_looks_like_one_that_does_not_exist(inside: Visitor, pages: Pages, box: str, act: str) -> None:
    def answer(name: str, sandbox: str) -> httpx.Response:
        browser = inside(name)
        if not act:
            return browser.get(f"{pages.portal}/sandboxes/{sandbox}")
        form = {**form_of(browser, pages), "sure": "yes", "person": "collega", "host": "pypi.org", "act": "ask"}
        return post(browser, pages, f"/sandboxes/{sandbox}{act}", form)

    for stranger in ("concurrent", "sanne", "beheer"):
        theirs, absent = answer(stranger, box), answer(stranger, "aaaaaaaa")
        assert theirs.status_code == absent.status_code == 404
        assert plain(theirs.text, box) == plain(absent.text, "aaaaaaaa")
        events = inside(stranger).get(f"{pages.portal}/events", params={"page": f"/sandboxes/{box}"})
        assert events.status_code == 404
    # Positive control: the same request by a member is carried out.
    assert answer("bakker", box).status_code in (200, 303)


@pytest.mark.attack
def test_only_companies_ask_and_only_operators_decide(inside: Visitor, pages: Pages, box: str) -> None:
    for name in ("sanne", "docent", "gast", "beheer"):
        browser = inside(name)
        assert post(browser, pages, "/sandboxes", {**form_of(browser, pages), **WISH}).status_code == 403
        assert post(browser, pages, "/sandboxes/join", {**form_of(browser, pages), "code": "x"}).status_code == 403
    for name in ("bakker", "concurrent", "docent"):
        browser = inside(name)
        for act in ("approve", "refuse", "end"):
            form = {**form_of(browser, pages), "sure": "yes"}
            assert post(browser, pages, f"/operator/sandboxes/{box}/{act}", form).status_code == 403
    # Positive control: an operator ends it with the same form.
    browser = inside("beheer")
    ended = post(browser, pages, f"/operator/sandboxes/{box}/end", {**form_of(browser, pages), "sure": "yes"})
    assert ended.status_code == 303


@pytest.mark.parametrize(
    "wrong",
    [{"title": ""}, {"title": "a" * 61}, {"sector": "arms"}, {"days": "0"}, {"days": "99999"}, {"days": "²"},
     {"data_class": "secret"}, {"people": "perhaps"}, {"purpose": "  "}],
)  # fmt: skip
def test_a_request_that_no_form_of_ours_sends_makes_no_sandbox(
    inside: Visitor, pages: Pages, wrong: dict[str, str]
) -> None:
    browser = inside("collega")
    answer = post(browser, pages, "/sandboxes", {**form_of(browser, pages), **WISH, **wrong})
    assert answer.status_code == 400 and "Nog niet alles is ingevuld" in answer.text
    assert 'aria-invalid="true"' in answer.text


@pytest.mark.attack
def test_a_sandbox_is_not_ended_by_a_form_without_the_tick(inside: Visitor, pages: Pages, box: str) -> None:
    browser = inside("bakker")
    assert post(browser, pages, f"/sandboxes/{box}/end", form_of(browser, pages)).status_code == 400
    assert "in gebruik" in browser.get(f"{pages.portal}/sandboxes/{box}").text
    # Positive control: with it, it is.
    post(browser, pages, f"/sandboxes/{box}/end", {**form_of(browser, pages), "sure": "yes"})
    assert "wordt beëindigd" in browser.get(f"{pages.portal}/sandboxes/{box}").text


FORMS = {"remove": {"person": "bakker"}, "end": {"sure": "yes"}, "takeout": {"path": "absent.csv"},
         "decide": {"answer": "yes"}, "reach": {"host": "pypi.org", "act": "ask"}}  # fmt: skip
# What a member gets who asks for it by the form of the page; there is no transfer, file, export or virus scanner here.
TAKEN = {
    "upload": (409,),
    "takeout": (400, 404, 409),
    "decide": (404,),
    "fetch": (404,),
    "export": (409,),
    "release": (409,),
    "remove": (409,),
}


@pytest.mark.attack
@pytest.mark.parametrize("route", [name for name in WRITE if TABLE[name].who is Who.MEMBER])
def test_a_forged_form_leaves_a_sandbox_as_it_is(inside: Visitor, pages: Pages, box: str, route: str) -> None:
    browser = inside("bakker")
    address = pages.portal + TABLE[route].path.format(**{**PARAMETERS, "sandbox": box})
    file = {"files": {"file": ("druk.csv", b"a;b\n1;2\n", "text/csv")}} if route == "upload" else {}

    def send(token: dict[str, str], origin: str = pages.portal) -> int:
        form = {"next": "/", **FORMS.get(route, {}), **token}
        return browser.post(address, data=form, headers={"Origin": origin}, timeout=60, **file).status_code

    own = form_of(browser, pages)
    assert send({}) == 403 and send({"_xsrf": "x" * 43}) == 403
    assert send(own, "http://evil.example") == 403
    # Positive control: with the token and from our own page the same form is taken.
    assert send(own) in TAKEN.get(route, (200, 303))
