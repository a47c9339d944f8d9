"""Attacks on the service by people with a token of their own, each beside the same request by somebody who may."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import httpx
import pytest
from grading_site import Site
from grading_trees import MEDIA, NOTEBOOK, entry, tree

pytestmark = [pytest.mark.integration, pytest.mark.attack]

WEEK = "/exchange/courses/alpha/assignments/week-1"


def send(client: httpx.Client, method: str, path: str, data: bytes = NOTEBOOK, **headers: str) -> httpx.Response:
    return client.request(method, path, content=data, headers={"Content-Type": MEDIA, **headers})


class People:
    """Clients of everybody, after anna handed in one released assignment and got feedback."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.clients: dict[str, httpx.Client] = {}
        account = self["course-alpha"]
        assert send(account, "PUT", WEEK).status_code == 200
        self.receipt: dict[str, Any] = send(self["anna"], "POST", f"{WEEK}/submissions").json()
        self.one = f"{WEEK}/submissions/anna/{self.receipt['submission']}"
        page = tree(entry("werk.html"))
        assert send(account, "PUT", f"{self.one}/feedback", page).status_code == 200

    def __getitem__(self, name: str) -> httpx.Client:
        if name not in self.clients:
            self.clients[name] = self.site.client(self.site.hub.token(name))
        return self.clients[name]

    def close(self) -> None:
        for client in self.clients.values():
            client.close()


@pytest.fixture
def people(site: Site) -> Any:
    made = People(site)
    yield made
    made.close()


def test_another_s_work_can_neither_be_read_nor_listed_nor_changed(people: People) -> None:
    for path in (people.one, f"{people.one}/feedback"):
        assert people["anna"].get(path).status_code == 200  # the control: the same request by its owner
        assert people["docent"].get(path).status_code == 200
        for other in ("bram", "carla", "buiten", "course-beta"):
            assert people[other].get(path).status_code == 403, other
    for query in ("student=anna", "everybody=1", "course=alpha&everybody=1", "course=alpha&student=anna"):
        answer = people["bram"].get(f"/exchange/submissions?{query}")
        assert answer.status_code == 403, query
    assert people["bram"].get("/exchange/submissions?course=alpha").json() == []
    assert len(people["anna"].get("/exchange/submissions?course=alpha").json()) == 1
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        assert send(people["anna"], method, people.one).status_code in {404, 405}
    assert people["anna"].get(people.one).content == NOTEBOOK.replace(b", ", b",").replace(b": ", b":")


def test_who_hands_in_is_decided_by_the_hub_alone(people: People) -> None:
    forged = {"X-Forwarded-User": "anna", "X-JupyterHub-User": "anna", "Remote-User": "anna", "Cookie": "user=anna"}
    answer = send(people["bram"], "POST", f"{WEEK}/submissions?student=anna&user=anna", **forged)
    assert answer.status_code == 201 and answer.json()["student"] == "bram"
    assert len(people.site.store.submissions("alpha", "week-1", "anna")) == 1
    inside = tree(entry("werk.ipynb"), entry("timestamp.txt"), entry("manifest.json"))
    answer = send(people["bram"], "POST", f"{WEEK}/submissions", inside)
    kept = people.site.store.submission("alpha", "week-1", "bram", answer.json()["submission"])
    assert kept.manifest.student == "bram" and kept.manifest.timestamp == answer.json()["timestamp"]


def test_the_key_of_a_sending_belongs_to_one_person(people: People) -> None:
    first = send(people["anna"], "POST", f"{WEEK}/submissions", **{"Idempotency-Key": "k"}).json()
    other = send(people["bram"], "POST", f"{WEEK}/submissions", **{"Idempotency-Key": "k"}).json()
    again = send(people["anna"], "POST", f"{WEEK}/submissions", **{"Idempotency-Key": "k"}).json()
    assert again == first and other["student"] == "bram" and other["submission"] != first["submission"]


def test_students_and_teachers_cannot_act_as_the_course(people: People) -> None:
    page = tree(entry("werk.html"))
    for name in ("anna", "docent", "carla", "buiten", "course-beta"):
        assert send(people[name], "PUT", f"{WEEK}?force=1").status_code == 403
        assert people[name].delete(WEEK).status_code == 403
        assert send(people[name], "PUT", f"{people.one}/feedback", page).status_code == 403
        if name != "course-beta":
            assert send(people[name], "POST", "/executions", tree(entry("notebook.ipynb"))).status_code == 403
    assert send(people["docent"], "POST", f"{WEEK}/submissions").status_code == 403
    # The controls: the course's own account.
    assert send(people["course-alpha"], "PUT", f"{WEEK}?force=1").status_code == 200
    assert send(people["course-alpha"], "PUT", f"{people.one}/feedback", page).status_code == 200
    assert people["course-alpha"].delete(WEEK).status_code == 200


def test_one_course_shows_nothing_of_another(people: People) -> None:
    for name in ("carla", "course-beta", "buiten"):
        answers = [
            people[name].get(path).status_code
            for path in (WEEK, "/exchange/assignments?course=alpha", "/exchange/submissions?course=alpha&everybody=1")
        ]
        assert answers == [403, 403, 403], name
        assert people[name].get("/exchange/assignments").json() == []
        # A course that does not exist looks the same as one that is not yours.
        there, nowhere = (people[name].get(f"/exchange/assignments?course={c}") for c in ("alpha", "gamma"))
        assert there.status_code == nowhere.status_code
        assert there.json()["what"].replace("alpha", "gamma") == nowhere.json()["what"]
    assert people["carla"].get("/exchange/courses").json() == [{"course": "beta", "role": "student"}]


def test_a_token_that_its_owner_gave_away_does_nothing(people: People) -> None:
    """Such as what another's server holds of a visitor, or of a service that may only know the visitor's name."""
    for scopes in ([], ["access:servers!server=docent/"], ["read:users:name!user=anna"], ["users:activity!user=bram"]):
        with people.site.client(people.site.hub.token("anna", scopes)) as client:
            assert client.get(people.one).status_code == 403
    for header in ("", "token", "Bearer x", "token niet-echt", "Basic YTpi"):
        with people.site.client("") as client:
            answer = client.get("/exchange/courses", headers={"Authorization": header})
        assert answer.status_code == 401 and answer.json()["code"] == "grading.not_identified"


def test_a_missing_claim_grants_nothing(people: People) -> None:
    people.site.hub.groups["anna"] = []
    fresh = people.site.client(people.site.hub.token("anna"))
    with fresh:
        assert fresh.get(people.one).status_code == 403
        assert fresh.get("/exchange/courses").json() == []
    # The hub's words in another shape than JupyterHub's are no words at all.
    for model in ({"kind": "service", "name": "anna"}, {"kind": "user"}, {"kind": "user", "name": None}):
        token = people.site.hub.token("anna")
        people.site.hub.tokens[token] = {**model, "scopes": ["users:activity!user=anna"]}
        with people.site.client(token) as client:
            assert client.get("/exchange/courses").status_code == 503


def _tar(**info: Any) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("werk.ipynb")
        for name, value in info.items():
            setattr(member, name, value)
        archive.addfile(member)
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        tree(entry("../../beta/released/week-1/x")), tree(entry("/etc/cron.d/x")), tree(entry("a/../../x")),
        tree(entry("a\\..\\x")), tree(entry("a\0b")), tree(entry("x" * 300)), tree(entry("a/" * 20 + "x")),
        tree(entry("werk.ipynb", link="/etc/passwd")), tree(entry("werk.ipynb", type="fifo")),
        _tar(type=tarfile.SYMTYPE, linkname="/etc/passwd"), _tar(type=tarfile.LNKTYPE, linkname="manifest.json"),
        _tar(type=tarfile.CHRTYPE, devmajor=1, devminor=5), b"PK\x03\x04" + b"\0" * 100, b"\x1f\x8b" + b"\0" * 100,
        tree(entry("a"), entry("a")), tree(entry("a"), entry("a/b")), tree(entry("a", size=9 * 2**20)),
        tree(*(entry(f"f{n}") for n in range(60))), tree(entry("a", sha256="0" * 64)), tree(entry("a")) + b"more",
    ],
)  # fmt: skip
def test_an_upload_that_is_not_plain_files_leaves_nothing(people: People, data: bytes) -> None:
    before = {path: path.stat().st_mtime_ns for path in people.site.state.exchange.rglob("*") if path.is_file()}
    answer = send(people["anna"], "POST", f"{WEEK}/submissions", data)
    assert answer.status_code in {400, 413}, answer.text
    assert "do" in answer.json()
    after = {path: path.stat().st_mtime_ns for path in people.site.state.exchange.rglob("*") if path.is_file()}
    assert before == after


@pytest.mark.parametrize("path", ["..%2f..%2fbeta", "alpha%00", "ALPHA", ".", "%2e%2e", "alpha%2freleased"])
def test_a_name_in_the_address_cannot_lead_elsewhere(people: People, path: str) -> None:
    for place in (
        f"/exchange/courses/{path}/assignments/week-1",
        f"/exchange/courses/alpha/assignments/{path}",
        f"{WEEK}/submissions/{path}/{people.receipt['submission']}",
        f"{WEEK}/submissions/anna/{path}",
        f"/executions/{path}",
    ):
        for name in ("docent", "course-alpha"):
            assert people[name].get(place).status_code in {400, 403, 404, 405}, place
