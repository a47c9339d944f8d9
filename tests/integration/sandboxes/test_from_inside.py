"""Two companies side by side on one site. Code in one's walled lab tries to reach the other's sandbox, its colleagues'
homes and the site around it. Each attempt is made again where it may succeed, and succeeds there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
from inside_attempts import (
    ABSTRACT,
    BY_PROXY,
    ENDING,
    EXCHANGE,
    HUB,
    LEDGER,
    PROCESSES,
    READ,
    SIGNAL,
    SLURM,
    SYSTEM_V,
    TARGETS,
    TCP,
    WRITE,
)
from sandbox_people import (
    OFFERED,
    CompanySite,
    Person,
    account_of,
    answers,
    job_of,
    logged_in,
    outside,
    port_of_server,
    portal_asks,
    wait_for,
)

from cluster.embedded import slurm_conf
from hub_config.run.strays import strays_of
from sandboxes.egress_ports import port_of
from sandboxes.plans import EGRESS_PORT

pytestmark = [pytest.mark.attack, pytest.mark.integration, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Companies:
    """Waterwacht with two members and Kaasmakers with one, each with a walled lab that runs, and a student's lab.

    Args:
        ours: the sandbox of Waterwacht, from which is attacked.
        theirs: the sandbox of Kaasmakers.
        targets: what Kaasmakers has running, by name.
    """

    site: CompanySite
    mila: Person
    bram: Person
    kees: Person
    sanne: Person
    ours: str
    theirs: str
    targets: dict[str, Any]

    @property
    def attacker(self) -> str:
        return account_of(self.ours, "mila")

    @property
    def colleague(self) -> str:
        return account_of(self.ours, "bram")

    @property
    def victim(self) -> str:
        return account_of(self.theirs, "kees")

    def inside(self, code: str) -> Any:
        """Run it in the attacker's lab."""
        return self.mila.run(self.attacker, code + ENDING)

    def at_theirs(self, code: str) -> Any:
        """Run it in the lab of who may."""
        return self.kees.run(self.victim, code + ENDING)


@pytest.fixture(scope="module")
def companies(company_site: CompanySite) -> Iterator[Companies]:
    with logged_in(company_site, "mila", "bram", "kees", "noor", "sanne") as (mila, bram, kees, noor, sanne):
        ours, theirs = mila.ask_for_sandbox("Pompen van Noord"), kees.ask_for_sandbox("Geheim recept")
        bram.join(mila.invite(ours))
        noor.join(kees.invite(theirs))
        # Two of Kaasmakers agreed on a place outside; Waterwacht have a way out that leads nowhere.
        for person, act in ((kees, "ask"), (noor, "agree")):
            assert person.send(f"/sandboxes/{theirs}/openings", {"act": act, "host": OFFERED}).status_code == 303
        wait_for("their way out", lambda: port_of(company_site.state, theirs))
        everybody = (
            (mila, account_of(ours, "mila")), (bram, account_of(ours, "bram")), (kees, account_of(theirs, "kees")),
            (sanne, "sanne"),
        )  # fmt: skip
        for person, account in everybody:
            person.start(account, wait=False, profile="cpu-small" if account == "sanne" else None)
        for person, account in everybody:
            wait_for(f"the lab of {account}", lambda who=person, its=account: answers(who, its))  # type: ignore[misc]
        targets = kees.run(account_of(theirs, "kees"), TARGETS)
        bram.run(
            account_of(ours, "bram"), "import pathlib; print(pathlib.Path.home().joinpath('eigen').write_text('x'))"
        )
        yield Companies(company_site, mila, bram, kees, sanne, ours, theirs, targets)


def folder(companies: Companies, *parts: str) -> str:
    return str(companies.site.state.sandboxes.joinpath(*parts))


# Each attempt succeeds without the wall, as the same account: what it reaches is there.
WITHOUT_THE_WALL: dict[str, Callable[[Companies], str]] = {
    "their files": lambda c: READ.format(path=folder(c, c.theirs, "files/recept.csv")),
    "a file into their sandbox": lambda c: WRITE.format(path=folder(c, c.theirs, "files")),
    "a colleague's own home": lambda c: READ.format(path=folder(c, c.ours, "members/bram/eigen")),
    "past the airlock on the way in": lambda c: WRITE.format(path=folder(c, c.ours, "quarantine")),
    "past the airlock on the way out": lambda c: WRITE.format(path=folder(c, c.ours, "outgoing")),
    "what the ledger knows of them": lambda c: LEDGER.format(path=c.site.state.ledger),
    "the port of their server": lambda c: TCP.format(port=port_of_server(c.site, c.victim)),
    "the port of a colleague's server": lambda c: TCP.format(port=port_of_server(c.site, c.colleague)),
    "the proxy of their way out": lambda c: TCP.format(port=port_of(c.site.state, c.theirs)),
    "their server by way of one's own way out": lambda c: BY_PROXY.format(
        port=port_of_server(c.site, c.victim), path=f"/user/{c.victim}/api", proxy=EGRESS_PORT
    ),
    "a signal to a process of the site": lambda c: SIGNAL.format(pid=wrapper_of(c)),
    "the wrapper of their job": lambda c: PROCESSES.format(word="spawners/job.py", file="cmdline"),
}


def wrapper_of(companies: Companies) -> int:
    """A process of the site that runs outside every wall: what starts a lab in its job."""
    for one in strays_of(companies.site.state).jobs:
        with suppress(psutil.NoSuchProcess):
            if any("spawners/job.py" in word for word in one.cmdline()):
                return one.pid
    raise AssertionError("no lab runs")


@pytest.mark.parametrize("what", WITHOUT_THE_WALL)
def test_code_in_a_sandbox_does_not_reach(what: str, companies: Companies) -> None:
    code = WITHOUT_THE_WALL[what](companies)
    assert outside(code + ENDING) is True, "without the wall it must work, or the attempt proves nothing"
    assert companies.inside(code) is not True


# Each attempt succeeds in the lab of the company whose it is.
WHERE_IT_IS: dict[str, Callable[[Companies], str]] = {
    "a port that they listen on": lambda c: TCP.format(port=c.targets["web"]),
    "their kernel": lambda c: TCP.format(port=c.targets["kernel"]),
    "a socket without a file": lambda c: ABSTRACT.format(name="\0klant-geheim"),
    "shared memory with a name": lambda _: READ.format(path="/dev/shm/klantgeheim"),
    "shared memory with a number": lambda _: SYSTEM_V.format(key=0x6B616173),
    "files that both keep in /tmp": lambda _: READ.format(path="/tmp/klant-geheim"),
    "the same path of the shared folder": lambda _: READ.format(path="/srv/sandbox/recept.csv"),
    "the same path of the home": lambda _: READ.format(path="/home/nb/eigen-notities"),
    "arguments of their processes": lambda _: PROCESSES.format(word="klantgeheim-argument", file="cmdline"),
    "environments of their processes": lambda _: PROCESSES.format(word="klantgeheim-omgeving", file="environ"),
}


@pytest.mark.parametrize("what", WHERE_IT_IS)
def test_what_one_company_leaves_lying_about_is_not_there_for_the_other(what: str, companies: Companies) -> None:
    code = WHERE_IT_IS[what](companies)
    assert companies.at_theirs(code) is True, "in their own lab it must work, or the attempt proves nothing"
    assert companies.inside(code) is not True


def hub(method: str, path: str, body: dict[str, Any] | None = None, token: str = "") -> str:
    return HUB.format(method=method, path=path, body=body, token=token)


OWN_TOKEN = "import os\ndef reaches(): return 'token ' + os.environ['JUPYTERHUB_API_TOKEN']"


def test_a_link_in_the_shared_folder_leads_nowhere_inside(companies: Companies) -> None:
    target = folder(companies, companies.theirs, "files/recept.csv")
    companies.inside(f"import os; os.symlink({target!r}, '/srv/sandbox/buiten.csv')\ndef reaches(): return True")
    assert companies.inside(READ.format(path="/srv/sandbox/buiten.csv")) is not True
    # Control: the link itself is right, and leads there for whoever is outside.
    assert outside(READ.format(path=folder(companies, companies.ours, "files/buiten.csv")) + ENDING) is True


def slurm(companies: Companies, commands: dict[str, tuple[str, str]], seconds: int = 30) -> str:
    """Commands of Slurm, each with a word that stands in its answer when it worked."""
    given = {what: (["/usr/bin/" + command.split()[0], *command.split()[1:]], word)
             for what, (command, word) in commands.items()}  # fmt: skip
    return SLURM.format(commands=given, conf=str(slurm_conf(companies.site.state)), seconds=seconds)


def test_slurm_does_not_answer_a_sandbox(companies: Companies) -> None:
    account, victim = f"box-{companies.theirs}", job_of(companies.site, companies.victim)
    commands = {
        "their job in the queue": ("squeue -h -o %a", account),
        "their job in every detail": (f"scontrol show job {victim}", account),
        "what their account has used": ("sshare -a -P", account),
        "who may spend what": ("sacctmgr -n -P show associations format=account", account),
        "a job on their account": (f"sbatch --test-only --account={account} --time=1", "to start at"),
    }
    assert outside(slurm(companies, commands) + ENDING) == dict.fromkeys(commands, True)
    commands["an end to their job"] = (f"scancel {victim}", "")
    assert companies.inside(slurm(companies, commands, seconds=5)) == dict.fromkeys(commands, False)
    assert answers(companies.kees, companies.victim)
    # Control of the last one: without the wall the same command ends a job.
    conf = {"PATH": "/usr/bin:/bin", "SLURM_CONF": str(slurm_conf(companies.site.state))}
    sleep = ["/usr/bin/sbatch", "--parsable", "--output=/dev/null", "--time=1", "--wrap=sleep 60"]
    made = subprocess.run(sleep, env=conf, capture_output=True, check=True, timeout=20).stdout
    sleeper = made.split(b";")[0].strip().decode()
    assert outside(slurm(companies, {"an end": (f"scancel {sleeper}", "")}) + ENDING) == {"an end": True}
    listed = ["/usr/bin/squeue", "-h", "-j", sleeper, "-t", "PD,R", "-o", "%i"]
    wait_for(
        "the job's end",
        lambda: not subprocess.run(listed, env=conf, capture_output=True, timeout=20, check=False).stdout.strip(),
        20,
    )


def test_the_token_of_a_lab_knows_nothing_of_the_others(companies: Companies) -> None:
    """The hub's API through the relay: with the token that every lab has in its environment."""
    theirs, account = f"/users/{companies.victim}", companies.victim
    stolen = companies.inside(OWN_TOKEN).removeprefix("token ")
    reach: dict[str, tuple[str, str, dict[str, Any] | None]] = {
        "look who they are": ("GET", theirs, None),
        "look when their server is ready": ("GET", theirs + "/server/progress", None),
        "list people": ("GET", "/users", None),
        "list groups": ("GET", f"/groups/sandbox-{companies.theirs}", None),
        "join their group": ("POST", f"/groups/sandbox-{companies.theirs}/users", {"users": [companies.attacker]}),
        "start their server": ("POST", theirs + "/server", None),
        "a token in their name": ("POST", theirs + "/tokens", {}),
        "their list of tokens": ("GET", theirs + "/tokens", None),
        "a share of their server": ("POST", f"/shares/{account}/", {"user": "mila"}),
        "where servers are": ("GET", "/proxy", None),
        "what services there are": ("GET", "/services", None),
        "a colleague's account": ("GET", f"/users/{companies.colleague}", None),
        "its own member's account": ("GET", "/users/mila", None),
        "another server of its own": ("POST", f"/users/{companies.attacker}/server", None),
        "make the hub follow": ("POST", "/leerlab/sandboxes", None),
        "keep their server from being idle": (
            "POST", theirs + "/activity", {"servers": {"": {"last_activity": datetime.now(UTC).isoformat()}}}
        ),
        "stop their server": ("DELETE", theirs + "/server", None),
    }  # fmt: skip
    for what, (method, path, body) in reach.items():
        assert companies.inside(hub(method, path, body)) in (403, 404, 405), what
        assert companies.mila.api(method, path, body, stolen).status_code in (403, 404, 405), what
    assert answers(companies.kees, account)
    # Controls: the relay works, the stolen token is good, and for who may the same requests are carried out.
    assert companies.inside(hub("GET", "/user")) is True
    assert companies.mila.api("GET", "/user", None, stolen).json()["name"] == companies.attacker
    assert companies.at_theirs(hub(*reach["keep their server from being idle"])) is True
    for what in ("look who they are", "look when their server is ready"):
        method, path, body = reach[what]
        assert companies.kees.api(method, path, body, companies.kees.token).status_code == 200
    for what in ("list people", "make the hub follow"):
        assert portal_asks(companies.site, reach[what][0], reach[what][1][1:]).status_code in (200, 204)


def test_a_token_found_in_a_lab_opens_no_other_lab(companies: Companies) -> None:
    stolen = companies.inside(OWN_TOKEN).removeprefix("token ")
    assert companies.mila.at(companies.attacker, "api/contents", token=stolen).status_code == 200
    assert companies.mila.at(companies.victim, "api/contents", token=stolen).status_code == 403
    assert companies.mila.at(companies.colleague, "api/contents", token=stolen).status_code == 403
    # Control: their own opens theirs.
    assert companies.kees.at(companies.victim, "api/contents", token=companies.targets["token"]).status_code == 200


def test_a_path_out_of_the_served_folder_is_not_served(companies: Companies) -> None:
    """The lab's own API, asked from outside: it serves what the wall shows, and nothing above the shared folder."""
    mila, ours = companies.mila, companies.attacker
    for up in ("..%2f", "%2e%2e%2f", "..%5c", "incoming%2f..%2f..%2f"):
        for goal in ("home/nb/eigen", "srv", "etc/passwd", f"{companies.theirs}/files/recept.csv"):
            for way in ("api/contents", "files", "tree", "view"):
                assert mila.verbatim(ours, f"{way}/{up * 3}{goal}") in (302, 400, 403, 404), (way, up, goal)
    # Control: what is in it, is served by the same request.
    assert mila.verbatim(ours, "api/contents/incoming%2f") == 200
    assert mila.verbatim(ours, "files/.%2fvoorspellend-onderhoud%2f1-kijken.ipynb") == 200


def test_a_sandbox_has_no_way_to_the_courses_exchange(companies: Companies) -> None:
    assert companies.inside(EXCHANGE) is not True
    # Control: a student's lab has.
    assert companies.sanne.run("sanne", EXCHANGE + ENDING) is True


def test_a_students_lab_reaches_no_sandbox(companies: Companies) -> None:
    """Not attacked from a sandbox, but at one: the same walls, from a course's notebook."""
    for what in ("their files", "the port of their server", "what the ledger knows of them"):
        code = WITHOUT_THE_WALL[what](companies)
        assert companies.sanne.run("sanne", code + ENDING) is not True, what
        assert outside(code + ENDING) is True


def test_what_a_lab_is_refused_outside_is_told_to_its_members(companies: Companies) -> None:
    """A program that knows nothing of the wall asks for a page; squid refuses before anything leaves this machine."""
    ask = (
        "import urllib.request, urllib.error\ndef reaches():\n    try:\n"
        f"        urllib.request.urlopen('http://{OFFERED}/simple?geheim=1', timeout=30)\n"
        "    except urllib.error.HTTPError as error:\n        return error.code\n"
    )
    assert companies.inside(ask) == 403
    for member in (companies.mila, companies.bram):
        # squid writes it down when it has answered.
        own = f"/sandboxes/{companies.ours}"
        wait_for("the refusal", lambda who=member, its=own: f"{OFFERED}:80" in who.see(its).text)  # type: ignore[misc]
        page = member.see(own).text
        assert f"{OFFERED}:80" in page and "tegengehouden" in page and "geheim" not in page
    assert "tegengehouden" not in companies.kees.see(f"/sandboxes/{companies.theirs}").text


def test_two_members_share_files_and_have_homes_of_their_own(companies: Companies) -> None:
    write = "import pathlib\ndef reaches(): return pathlib.Path({path!r}).write_text('van mila') > 0"
    assert companies.inside(write.format(path="/srv/sandbox/samen.txt")) is True
    assert companies.inside(write.format(path="/home/nb/alleen-mila.txt")) is True
    bram = companies.bram
    assert bram.run(companies.colleague, READ.format(path="/srv/sandbox/samen.txt") + ENDING) is True
    assert bram.run(companies.colleague, READ.format(path="/home/nb/sandbox/samen.txt") + ENDING) is True
    assert bram.run(companies.colleague, READ.format(path="/home/nb/alleen-mila.txt") + ENDING) is not True
    changed = "import pathlib\ndef reaches(): return pathlib.Path('/srv/sandbox/samen.txt').write_text('van bram') > 0"
    assert bram.run(companies.colleague, changed + ENDING) is True
    read = "import pathlib\ndef reaches(): return pathlib.Path('/srv/sandbox/samen.txt').read_text()"
    assert companies.inside(read) == "van bram"
