"""Two companies side by side on one site. People of the one, a student, an operator, who was a member and who ended a
sandbox try the doors of the other's: hub, portal, proxy and servers. Who may, does the same and gets in."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from inside_attempts import HEARTBEAT
from sandbox_people import (
    CompanySite,
    Person,
    account_of,
    address_of,
    answers,
    job_of,
    logged_in,
    portal_asks,
    queued,
    trail,
    wait_for,
    waiting_transfers,
)

from cluster.embedded import slurm_conf
from hub_config.login import keys
from hub_config.run.browser import Browser
from portal.access import TABLE, Who
from sandboxes.folders import Folders

pytestmark = [pytest.mark.attack, pytest.mark.integration, pytest.mark.timeout(180)]
CSV = b"melk;zout\n3;1\n4;1\n"
SHUT = (403, 404)
GONE = (302, *SHUT)
"""Where no server is, the hub answers: with a refusal, or on its own origin, where it refuses then."""


@dataclass(frozen=True)
class Gates:
    """Waterwacht with Mila and Bram, Kaasmakers with Kees, Noordzee with Noor; all but Bram own a sandbox.

    Args:
        ours: Mila's, with Bram as a member.
        theirs: of Kees, into which the others want to get.
        third: of Noor, which ends.
        transfer: of a file that waits for a yes in the sandbox of Kees.
    """

    site: CompanySite
    mila: Person
    bram: Person
    kees: Person
    noor: Person
    sanne: Person
    beheer: Person
    ours: str
    theirs: str
    third: str
    transfer: str

    @property
    def strangers(self) -> tuple[Person, ...]:
        """Everybody who is no member of the sandbox of Kees."""
        return (self.mila, self.noor, self.sanne, self.beheer)

    @property
    def victim(self) -> str:
        return account_of(self.theirs, "kees")


@pytest.fixture(scope="module")
def gates(company_site: CompanySite) -> Iterator[Gates]:
    with logged_in(company_site, "mila", "bram", "kees", "noor", "sanne", "beheer") as people:
        mila, bram, kees, noor, sanne, _ = people
        ours, theirs, third = (who.ask_for_sandbox(f"Van {who.name}") for who in (mila, kees, noor))
        bram.join(mila.invite(ours))
        mine = ((mila, account_of(ours, "mila")), (bram, account_of(ours, "bram")), (kees, account_of(theirs, "kees")))
        for person, account in mine:
            person.start(account, wait=False)
        # Noor asks for a machine that the start page does not offer her.
        noor.start(account_of(third, "noor"), wait=False, profile="gpu-part")
        sanne.start("sanne", wait=False, profile="gpu-part")
        for person, account in (*mine, (noor, account_of(third, "noor")), (sanne, "sanne")):
            wait_for(f"the lab of {account}", lambda who=person, its=account: answers(who, its))  # type: ignore[misc]
        transfer = file_that_waits(kees, theirs)
        yield Gates(company_site, *people, ours, theirs, third, transfer)


def file_that_waits(person: Person, sandbox: str) -> str:
    """The transfer of a file that was sent in and asked for again."""
    assert person.upload(sandbox, "recept.csv", CSV).status_code == 303
    arrived = Folders(person.site.state, sandbox).incoming / "recept.csv"
    wait_for("the file", arrived.exists)
    assert person.send(f"/sandboxes/{sandbox}/takeout", {"path": "incoming/recept.csv"}).status_code == 303
    return waiting_transfers(person.site, sandbox)[0]


def test_nobody_else_opens_a_sandboxes_server(gates: Gates) -> None:
    for person in gates.strangers:
        assert person.visit(gates.victim).status_code == 403, f"{person.name} with a browser"
        assert person.at(gates.victim, "api/contents").status_code == 403, f"{person.name} with a token"
    assert gates.mila.visit(account_of(gates.ours, "bram")).status_code == 403, "a colleague's own server"
    # Control: its own person does, both ways.
    assert gates.kees.visit(gates.victim).status_code == 200
    assert gates.kees.at(gates.victim, "api/contents").status_code == 200


def authorize(person: Person, account: str, callback_of: str) -> httpx.Response:
    query = {
        "client_id": f"jupyterhub-user-{account}", "response_type": "code", "state": "x",
        "redirect_uri": address_of(person.site, callback_of) + "oauth_callback",
    }  # fmt: skip
    return person.browser.get("/hub/api/oauth2/authorize?" + urlencode(query))


def test_the_hub_gives_nobody_else_a_code_for_a_sandboxes_server(gates: Gates) -> None:
    own = account_of(gates.ours, "mila")
    for person in gates.strangers:
        assert authorize(person, gates.victim, gates.victim).status_code == 403, person.name
    assert authorize(gates.mila, own, gates.victim).status_code == 400, "a code for ours, sent to theirs"
    # Control: for her own she gets one, sent to her own; at theirs it opens nothing.
    given = authorize(gates.mila, own, own)
    assert given.status_code == 302
    code = given.headers["location"].partition("?")[2]
    carried = gates.mila.browser.get(address_of(gates.site, gates.victim) + "oauth_callback?" + code)
    assert carried.status_code in (400, 403, 500)
    assert gates.mila.visit(gates.victim).status_code == 403


def cookies_at(person: Person, account: str) -> str:
    """What a browser would send to a server, as a header."""
    assert person.visit(account).status_code == 200
    host = f"{account}.{person.site.site.hub.domain}"
    mine = [cookie for cookie in person.browser.cookies.jar if cookie.domain.lstrip(".") == host]
    assert mine, "the server has set cookies"
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in mine)


def with_cookies(site: CompanySite, account: str, cookies: str) -> int:
    with Browser(site.site, seconds=20) as bare:
        return bare.get(address_of(site, account) + "lab", headers={"Cookie": cookies}).status_code


def test_cookies_of_one_sandboxes_server_open_no_other(gates: Gates) -> None:
    own = account_of(gates.ours, "mila")
    ours = cookies_at(gates.mila, own)
    assert with_cookies(gates.site, own, ours) == 200
    for name in (ours, ours.replace(own, gates.victim)):
        assert with_cookies(gates.site, gates.victim, name) in (302, 403)
    # Control: a copy of theirs does open it.
    assert with_cookies(gates.site, gates.victim, cookies_at(gates.kees, gates.victim)) == 200


def test_ones_own_name_with_anothers_path_leads_to_no_server(gates: Gates) -> None:
    """The proxy goes by name and path together, so that one origin never shows two servers."""
    path = f"/user/{gates.victim}/api/contents"

    def ask(account: str) -> httpx.Response:
        headers = {"Authorization": f"token {gates.kees.token}"}
        with Browser(gates.site.site, seconds=20) as bare:
            return bare.get(f"http://{account}.{gates.site.site.hub.host}{path}", headers=headers)

    # Even with the token of who may: the other origin's scripts must never get at the answer.
    for account in (account_of(gates.ours, "mila"), "sanne", "portal"):
        assert ask(account).status_code in GONE, account
    assert ask(gates.victim).status_code == 200


def test_the_hub_does_nothing_to_a_sandboxes_account_for_others(gates: Gates) -> None:
    account = f"/users/{gates.victim}"
    asks = [
        ("GET", account), ("PATCH", account), ("DELETE", account), ("POST", account + "/server"),
        ("POST", account + "/servers/more"), ("POST", account + "/tokens"), ("GET", account + "/tokens"),
        ("GET", account + "/server/progress"), ("POST", account + "/activity"), ("GET", "/users"), ("GET", "/groups"),
        ("GET", f"/groups/sandbox-{gates.theirs}"), ("POST", f"/groups/sandbox-{gates.theirs}/users"),
        ("POST", f"/shares/{gates.victim}/"), ("POST", "/leerlab/sandboxes"), ("GET", "/proxy"), ("POST", "/shutdown"),
    ]  # fmt: skip
    for person in gates.strangers:
        for method, path in asks:
            answer = person.hub(method, path, json={} if method in ("POST", "PATCH") else None)
            assert answer.status_code in SHUT, f"{person.name}: {method} {path}"
        for page in ("spawn", "spawn-pending"):
            assert person.browser.get(f"/hub/{page}/{gates.victim}").status_code in SHUT, f"{person.name}: {page}"
        if person is not gates.beheer:
            assert person.hub("DELETE", account + "/server").status_code in SHUT
    assert answers(gates.kees, gates.victim)
    # Control: for its own person the hub does.
    assert gates.kees.hub("GET", account).status_code == 200
    assert gates.kees.hub("GET", account + "/server/progress").status_code == 200
    assert gates.kees.browser.get(f"/hub/spawn-pending/{gates.victim}").status_code in (200, 302)


def test_nobody_gets_a_key_of_their_own_to_a_sandboxes_account(gates: Gates) -> None:
    """A token in the account's name, or a share of its server, would outlive a membership."""
    own = account_of(gates.ours, "bram")
    for path in (f"/users/{own}/tokens", f"/shares/{own}/", f"/share-codes/{own}/"):
        assert gates.bram.hub("POST", path, json={"user": "kees"}).status_code in (*SHUT, 405), path
    # Control: a token in one's own name is given.
    assert gates.bram.hub("POST", "/users/bram/tokens", json={}).status_code == 201


def test_a_sandboxes_account_is_nobody_that_logs_in(gates: Gates) -> None:
    def logs_in(name: str) -> bool:
        with Browser(gates.site.site, seconds=20) as browser:
            browser.submit("/hub/login", "/hub/login/key", key=keys.mint(gates.site.state))
            browser.submit("/hub/login", "/hub/login", username=name)
            return browser.get("/hub/api/user").status_code == 200

    assert not logs_in(gates.victim)
    assert not logs_in(f"sandbox-{gates.theirs}")
    assert logs_in("kees")


def test_what_a_member_asks_of_the_start_page_changes_no_machine_and_no_account(gates: Gates) -> None:
    conf = {"PATH": "/usr/bin:/bin", "SLURM_CONF": str(slurm_conf(gates.site.state))}

    def job(account: str) -> str:
        argv = ["/usr/bin/squeue", "-h", "-j", str(job_of(gates.site, account)), "-o", "%a %P"]
        return subprocess.run(argv, env=conf, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    assert job(account_of(gates.third, "noor")) == f"box-{gates.third} cpu"
    for wish in ({"account": "courses"}, {"sandbox": gates.theirs}, {"partition": "gpu"}, {"cmd": ["/bin/true"]}):
        answer = gates.mila.hub("POST", f"/users/{account_of(gates.ours, 'mila')}/server", json=wish)
        assert answer.status_code == 400, wish
    # Control: where a profile may be chosen, the same wish is heard.
    assert job("sanne") == "courses gpu"


FORMS = {
    "remove": {"person": "kees"}, "takeout": {"path": "incoming/recept.csv"}, "decide": {"answer": "yes"},
    "reach": {"act": "ask", "host": "pypi.org"}, "end": {"sure": "yes"},
}  # fmt: skip
MEMBERS_ROUTES = [name for name, entry in TABLE.items() if entry.who is Who.MEMBER]


def ask_portal(person: Person, route: str, sandbox: str, transfer: str) -> httpx.Response:
    path = TABLE[route].path.format(sandbox=sandbox, transfer=transfer)
    if TABLE[route].method == "GET":
        return person.see(path)
    if route == "upload":
        return person.upload(sandbox, "vreemd.csv", CSV)
    return person.send(path, FORMS.get(route))


def without_ids(html: str, *ids: str) -> str:
    """A page without what differs at every answer or repeats the address."""
    html = re.sub(r'value="[^"]*"|next=[^"]*', "", html)
    for one in ids:
        html = html.replace(one, "")
    return html


@pytest.mark.parametrize("route", MEMBERS_ROUTES)
def test_the_portal_shows_and_does_nothing_of_anothers_sandbox(route: str, gates: Gates) -> None:
    before, files = trail(gates.site, gates.theirs), everything_in(gates, gates.theirs)
    for person in gates.strangers:
        theirs = ask_portal(person, route, gates.theirs, gates.transfer)
        absent = ask_portal(person, route, "aaaaaaaa", "0" * 16)
        assert theirs.status_code == absent.status_code == 404, person.name
        assert without_ids(theirs.text, gates.theirs, gates.transfer) == without_ids(absent.text, "aaaaaaaa", "0" * 16)
    assert trail(gates.site, gates.theirs) == before
    assert everything_in(gates, gates.theirs) == files
    # Control: its member is understood, even where it is refused for another reason than who asks.
    if route != "end":  # Noor's, below, is the control of this one
        assert ask_portal(gates.kees, route, gates.theirs, gates.transfer).status_code in (200, 303, 409)
    if route == "upload":  # it is still looked at, and arrives; another test would see that
        folders = Folders(gates.site.state, gates.theirs)
        wait_for("the file", (folders.incoming / "vreemd.csv").exists)
        wait_for("the end of its checks", lambda: not any(folders.quarantine.iterdir()))


def everything_in(gates: Gates, sandbox: str) -> set[Path]:
    folders = Folders(gates.site.state, sandbox)
    return {path for part in (folders.incoming, folders.quarantine, folders.outgoing) for path in part.iterdir()}


def test_nobody_else_is_told_what_happens_in_a_sandbox(gates: Gates) -> None:
    def first_line(person: Person) -> tuple[int, str]:
        address = f"{person.portal}/events?page=/sandboxes/{gates.theirs}"
        with person.browser.stream("GET", address) as answer:
            return answer.status_code, next(answer.iter_lines(), "") if answer.status_code == 200 else ""

    for person in gates.strangers:
        assert first_line(person)[0] == 404, person.name
    assert first_line(gates.kees)[0] == 200


def test_anothers_file_does_not_leave_by_the_page_of_ones_own_sandbox(gates: Gates) -> None:
    for act, form in (("decide", {"answer": "yes"}), ("fetch", {})):
        for sandbox in (gates.ours, gates.theirs):
            path = f"/sandboxes/{sandbox}/transfers/{gates.transfer}/{act}"
            assert gates.mila.send(path, form).status_code == 404, path
    # Control: one's own does, after a colleague's yes.
    own = file_that_waits(gates.mila, gates.ours)
    assert gates.bram.send(f"/sandboxes/{gates.ours}/transfers/{own}/decide", {"answer": "yes"}).status_code == 303
    fetched = gates.mila.send(f"/sandboxes/{gates.ours}/transfers/{own}/fetch")
    assert (fetched.status_code, fetched.content) == (200, CSV)


def test_no_link_and_no_path_takes_anothers_file_out(gates: Gates) -> None:
    """The portal copies what is asked for, and it runs outside the wall: a link made inside would lead it anywhere."""
    account, target = account_of(gates.ours, "mila"), Folders(gates.site.state, gates.theirs).incoming
    gates.mila.run(
        account,
        f"import os, shutil; os.symlink('{target}/recept.csv', '/srv/sandbox/link.csv'); "
        f"os.symlink('{target}', '/srv/sandbox/folder'); print(shutil.copy('/srv/sandbox/.leerlab-sandbox.json', "
        "'/srv/sandbox/plain.json') and 1)",
    )
    assert (Folders(gates.site.state, gates.ours).files / "link.csv").read_bytes() == CSV, "it does lead there"
    before = trail(gates.site, gates.ours).count("transfer.asked")
    for path in ("link.csv", "folder/recept.csv", f"../../{gates.theirs}/files/incoming/recept.csv",
                 f"{target}/recept.csv", "incoming/../../../../secrets/cookie-secret"):  # fmt: skip
        assert gates.mila.send(f"/sandboxes/{gates.ours}/takeout", {"path": path}).status_code == 400, path
    assert trail(gates.site, gates.ours).count("transfer.asked") == before
    # Control: a plain file next to them is copied.
    assert gates.mila.send(f"/sandboxes/{gates.ours}/takeout", {"path": "plain.json"}).status_code == 303


def test_no_name_of_a_file_puts_it_into_anothers_sandbox(gates: Gates) -> None:
    before = everything_in(gates, gates.theirs)
    theirs = f"{gates.theirs}/files/incoming/gift.csv"
    for name in (f"../../{theirs}", f"..\\..\\{theirs}", f"/{theirs}", f"....//....//{theirs}", "..", "gift.csv\0.png"):
        gates.mila.upload(gates.ours, name, CSV)
    assert everything_in(gates, gates.theirs) == before
    found = [path for path in gates.site.state.sandboxes.rglob("gift*") if "incoming" in path.parts]
    assert all(gates.ours in path.parts for path in found)
    # Control: by its plain name it arrives, where it was sent.
    gates.mila.upload(gates.ours, "gift-control.csv", CSV)
    wait_for("the file", (Folders(gates.site.state, gates.ours).incoming / "gift-control.csv").exists)


def test_who_was_taken_out_has_nothing_left(gates: Gates) -> None:
    account, bram = account_of(gates.ours, "bram"), gates.bram
    code = bram.invite(gates.ours)
    token, cookies = bram.token, cookies_at(bram, account)
    assert bram.run(account, HEARTBEAT) is True
    # Control: all that is tried below works while he is a member.
    assert bram.see(f"/sandboxes/{gates.ours}").status_code == 200
    assert bram.at(account, "api/contents", token=token).status_code == 200
    assert with_cookies(gates.site, account, cookies) == 200
    assert bram.hub("GET", f"/users/{account}").status_code == 200
    job = job_of(gates.site, account)
    assert gates.mila.send(f"/sandboxes/{gates.ours}/remove", {"person": "bram"}).status_code == 303
    assert bram.see(f"/sandboxes/{gates.ours}").status_code == 404
    assert bram.send(f"/sandboxes/{gates.ours}/takeout", {"path": "plain.json"}).status_code == 404
    assert bram.at(account, "api/contents", token=token).status_code in GONE
    assert with_cookies(gates.site, account, cookies) in GONE
    assert bram.visit(account).status_code in SHUT
    for method, path in (("GET", ""), ("POST", "/server"), ("DELETE", "/server"), ("GET", "/server/progress")):
        assert bram.hub(method, f"/users/{account}{path}").status_code in SHUT, f"{method} {path}"
    assert bram.browser.get(f"/hub/spawn/{account}").status_code in SHUT
    assert gates.noor.send("/sandboxes/join", {"code": code}).status_code == 409, "whoever he invited"
    assert portal_asks(gates.site, "GET", f"users/{account}").status_code == 404
    heart = Folders(gates.site.state, gates.ours).files / "hartslag"
    wait_for("the job's end", lambda: not queued(gates.site, job), 30)
    last = heart.read_text()
    time.sleep(0.3)  # six heartbeats
    assert heart.read_text() == last, "what he had left running runs on"
    assert answers(gates.mila, account_of(gates.ours, "mila")), "nobody else notices"


def test_an_ended_sandbox_is_shut_for_its_own_people_too(gates: Gates) -> None:
    noor, account = gates.noor, account_of(gates.third, "noor")
    token, cookies, job = noor.token, cookies_at(noor, account), job_of(gates.site, account)
    assert noor.at(account, "api/contents", token=token).status_code == 200
    assert noor.send(f"/sandboxes/{gates.third}/end", {"sure": "yes"}).status_code == 303
    assert noor.at(account, "api/contents", token=token).status_code in GONE
    assert with_cookies(gates.site, account, cookies) in GONE
    assert noor.hub("POST", f"/users/{account}/server", json={}).status_code in SHUT
    assert noor.browser.get(f"/hub/spawn/{account}").status_code in SHUT
    for route in ("upload", "takeout", "invite", "extend", "reach"):
        assert ask_portal(noor, route, gates.third, gates.transfer).status_code in (400, 409), route
    assert not (Folders(gates.site.state, gates.third).incoming / "vreemd.csv").exists()
    conf = {"PATH": "/usr/bin:/bin", "SLURM_CONF": str(slurm_conf(gates.site.state))}
    submit = ["/usr/bin/sbatch", "--test-only", "--time=1", "--wrap=true", "--account"]
    refused = subprocess.run([*submit, f"box-{gates.third}"], env=conf, capture_output=True, timeout=20, check=False)
    assert refused.returncode != 0, "its account in Slurm is gone"
    # Control: another's account is there, and their job runs on.
    allowed = subprocess.run([*submit, f"box-{gates.theirs}"], env=conf, capture_output=True, timeout=20, check=False)
    assert allowed.returncode == 0, allowed.stderr
    listed = subprocess.run(
        ["/usr/bin/squeue", "-h", "-j", str(job), "-t", "R"], env=conf, capture_output=True, timeout=20, check=False
    )
    assert not listed.stdout.strip()
    assert answers(gates.kees, gates.victim)
