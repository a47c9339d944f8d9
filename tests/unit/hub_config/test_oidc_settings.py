"""`leerlab check` on `login: {kind: oidc}`: each mistake is one problem, on its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub_config.check import check, load
from hub_config.login.presets import PRESETS
from hub_config.login.settings import OidcLoginSettings

Check = Callable[[str], list[tuple[int, str]]]
GOOD = """\
site: {name: proef}
hub:
  bind: 127.0.0.1
login:
  kind: oidc
  providers:
    - id: surfconext
      preset: surfconext
      client_id: leerlab.example.nl
      client_secret_file: @SECRET@
      rules:
        - {claim: eduperson_affiliation, operator: contains, value: student, groups: [students-hbo, nbgrader-les]}
        - {claim: eckid, operator: exists, groups: [students-mbo]}
    - id: bedrijf
      title: {nl: Bedrijf, en: Company}
      issuer: https://login.bedrijf.example
      client_id: leerlab
      client_secret_file: @SECRET@
      rules:
        - {claim: role, operator: equals, value: beheer, groups: [operators]}
  grace: 12h
cluster:
  kind: embedded
  nodes: [{name: cpu01, cpus: 8, memory: 16G}]
  partitions: [{name: cpu, nodes: [cpu01], time: 8h, default: true}]
profiles:
  - {id: klein, title: {nl: Klein, en: Small}, partition: cpu, cpus: 1, memory: 2G, time: 4h}
courses:
  - {id: les, folder: mbo/les, profile: klein, released: [een]}
grading:
  profile: klein
"""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "client-secret"
    file.write_text("not-a-real-one\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def good(secret: Path) -> str:
    return GOOD.replace("@SECRET@", str(secret))


@pytest.fixture
def found(tmp_path: Path) -> Check:
    catalogue = tmp_path / "catalogue"
    (catalogue / "mbo/les/source/een").mkdir(parents=True)

    def examine(text: str) -> list[tuple[int, str]]:
        file = tmp_path / "site.yaml"
        file.write_text(text)
        return [(one.line, str(one).removeprefix(f"{file}:{one.line}: ")) for one in check(file, catalogue)]

    return examine


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_a_right_login_has_no_problems_and_presets_fill_it_in(found: Check, good: str, tmp_path: Path) -> None:
    assert found(good) == []
    login = load(tmp_path / "site.yaml", tmp_path / "catalogue").login
    assert isinstance(login, OidcLoginSettings)
    first, second = login.providers
    assert (first.address, first.asked, first.button.nl) == ("https://connect.surfconext.nl", ("openid",), "SURFconext")
    assert (second.address, second.asked, second.button.en) == ("https://login.bedrijf.example", ("openid",), "Company")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_enough_with_a_client_and_rules(found: Check, good: str, preset: str) -> None:
    assert found(good.replace("preset: surfconext", f"preset: {preset}")) == []


def test_the_issuer_of_a_preset_may_be_another(found: Check, good: str) -> None:
    assert (
        found(
            good.replace(
                "preset: surfconext\n", "preset: surfconext\n      issuer: https://connect.test.surfconext.nl\n"
            )
        )
        == []
    )


BIND = "bind: 127.0.0.1"
ISSUER = "issuer: https://login.bedrijf.example"
ONE_MISTAKE = [
    ("kind: oidc", "kind: saml", "kind: saml", "(allowed: kind: demo or oidc)"),
    ("id: bedrijf", "id: surfconext", "    - id: surfconext\n      title", "surfconext exists already, on line 7"),
    ("id: bedrijf", "id: demo", "id: demo", "belongs to the demo people"),
    (ISSUER, "issuer: http://login.bedrijf.example", "issuer:", "is not encrypted"),
    (ISSUER, "issuer: http://localhost:8000", "issuer:", "is not encrypted"),
    (ISSUER, "issuer: ftp://login.bedrijf.example", "issuer:", "is not an address of a web server"),
    (ISSUER, "issuer: https://me:pw@login.bedrijf.example", "issuer:", "holds a name or password"),
    (ISSUER, "issuer: 'https://login.bedrijf.example/?x=1'", "issuer:", "has a query"),
    (f"      {ISSUER}\n", "", "    - id: bedrijf", "its `issuer` and `title` are needed"),
    ("preset: surfconext", "preset: digid", "preset: digid", "is not one of the choices"),
    ("operator: equals", "operator: regex", "operator: regex", "is not one of the choices"),
    ("operator: exists", "operator: exists, value: x", "- {claim: eckid", "do not belong together"),
    ("operator: contains, value: student", "operator: contains", "- {claim: eduperson", "do not belong together"),
    ("groups: [operators]", "groups: [admins]", "groups: [admins]", "gives a group that does not exist: admins"),
    ("nbgrader-les", "nbgrader-geen", "nbgrader-geen", "does not exist: nbgrader-geen"),
    ("nbgrader-les", "'nbgrader-{course}'", "nbgrader-{course}", "does not have the right form"),
    ("groups: [operators]", "groups: []", "groups: []", "too few"),
    ("grace: 12h", "grace: 90d", "grace: 90d", "too large"),
    ("client_id: leerlab\n", "client_id: leerlab\n      scopes: [profile]\n", "scopes:", "lack openid"),
    ("client_id: leerlab\n", "client_id: leerlab\n      client_secret: abc\n", "client_secret: abc", "not known"),
    ("bind: 127.0.0.1", "bind: 0.0.0.0", "bind:", "logins would cross the network unencrypted"),
    (BIND, f"{BIND}\n  https: true\n  domain: leer.localhost", "domain:", "nobody gives a certificate"),
    (BIND, f"{BIND}\n  https: true\n  domain: 10.0.0.1", "domain:", "nobody gives a certificate"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where", "words"), ONE_MISTAKE)
def test_one_mistake_is_one_problem_on_its_line(
    found: Check, good: str, old: str, new: str, where: str, words: str
) -> None:
    assert old in good
    text = good.replace(old, new, 1)
    problems = found(text)
    assert len(problems) == 1, problems
    [(line, message)] = problems
    assert words in message
    assert line == line_of(text, where)


def test_a_loopback_issuer_may_do_without_encryption(found: Check, good: str) -> None:
    for issuer in ("http://127.0.0.1:4000", "'http://[::1]:4000'"):
        assert found(good.replace(ISSUER, f"issuer: {issuer}")) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "cannot be read: No such file"),
        (lambda file: file.chmod(0o644), "can be read by others than its owner (mode 644, not 600)"),
        (lambda file: file.write_text(""), "does not hold one line"),
        (lambda file: file.write_text("one\ntwo\n"), "does not hold one line"),
        (lambda file: (file.unlink(), file.mkdir()), "is not a file"),
    ],
    ids=["absent", "readable by others", "empty", "two lines", "a folder"],
)
def test_a_client_secret_that_cannot_be_used_is_a_problem_and_stays_a_secret(
    found: Check, good: str, secret: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(secret)
    text = good.replace(str(secret), "/nowhere", 1) if not secret.exists() else good
    lines = [line for line, _ in found(text)]
    messages = [message for _, message in found(text)]
    places = [number for number, line in enumerate(text.splitlines(), 1) if "client_secret_file" in line]
    assert lines == places and all(words in message or "No such file" in message for message in messages)
    assert "not-a-real-one" not in " ".join(messages)


@pytest.mark.parametrize("name", ["portal", "course-les", "box-abcdefgh-sanne"])
def test_a_demo_person_has_no_name_of_the_sites_own(found: Check, good: str, name: str) -> None:
    start, end = good.index("login:"), good.index("cluster:")
    demo = f"login:\n  kind: demo\n  people:\n    - {{name: {name}, title: Iemand}}\n"
    [(line, message)] = found(good[:start] + demo + good[end:])
    assert line == 7 and "(allowed: any other name)" in message
