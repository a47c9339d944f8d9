"""A site from bare Debian by the playbook, used, upgraded, lost and restored: what `leerlab test --site` runs.

The tests of this file are one story and run in this order, on the same machines.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browse import Visitor, browser_of
from deploy import DOMAIN, Operator
from outside import STUDENT, TEACHER
from playwright.sync_api import Browser, Page
from rootfs import CODE
from steps import (
    COURSE,
    autograde,
    collect,
    give_feedback,
    hand_in,
    open_assignment,
    open_formgrader,
    read_feedback,
    run_all_cells,
    save,
    solve_first_exercises,
    write_reflection,
)

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.site, pytest.mark.timeout(7200)]
ANSWER = "Ik denk aan de mensen die de vrachtbrieven schrijven."
SCORE = "SELECT round(sum(auto_score), 2) FROM grade WHERE auto_score IS NOT NULL"


@pytest.fixture(scope="module")
def browser(site: Operator) -> Iterator[Browser]:
    """A browser where the operator is, which takes no certificate but the site's."""
    with browser_of(site) as made:
        yield made


@pytest.fixture(scope="module")
def people(browser: Browser, site: Operator) -> Iterator[dict[str, Any]]:
    """A student and her teacher, logged in for the whole story."""
    made = {name: Visitor.new(browser, name, site) for name in (STUDENT, TEACHER)}
    yield made
    for one in made.values():
        one.page.context.close()


def handed_in(site: Operator) -> dict[str, str]:
    """Every file that was handed in, with its digest."""
    lines = site.hub.run(
        f"cd {site.state}/exchange && find . -type f -path '*/submissions/*' -print0 | xargs -0r sha256sum"
    ).stdout  # fmt: skip
    return {line.split()[1]: line.split()[0] for line in lines.splitlines()}


def sizes(page: Page, kind: str, part: str) -> tuple[int, int]:
    """How many bytes of something that a page loaded came over the network, and how many they hold."""
    look = (
        f"performance.getEntriesByType('{kind}').filter(one => one.name.includes('{part}'))"
        ".map(one => [one.encodedBodySize, one.decodedBodySize])[0]"
    )
    encoded, decoded = page.evaluate(look)
    return encoded, decoded


def marks(site: Operator) -> str:
    return site.hub.run(f"sqlite3 {site.state}/courses/{COURSE}/gradebook.db '{SCORE}'").stdout.strip()


def known(site: Operator) -> str:
    """The people of the hub's database, and the end of the audit trail."""
    return site.hub.run(
        "cd / && runuser -u postgres -- psql -AtXc 'SELECT name FROM users ORDER BY name' leerlab_hub; "
        "runuser -u postgres -- psql -AtXc 'SELECT count(*) > 0 FROM entry' leerlab_ledger"
    ).stdout  # fmt: skip


def test_the_playbook_makes_a_working_site_of_bare_machines(site: Operator) -> None:
    assert site.first is not None and site.first.code == 0
    assert all(finding["ok"] for finding in site.leerlab("doctor"))
    print(f"site.yml on bare machines: {site.first.seconds:.0f} s")  # noqa: T201  the figure in the docs


def test_a_student_hands_in_and_a_teacher_grades_over_tls(site: Operator, people: dict[str, Any]) -> None:
    student, teacher = people[STUDENT], people[TEACHER]
    student.log_in()
    assert student.page.url.startswith(f"https://portal.{DOMAIN}/")
    open_assignment(student)
    sent, page = sizes(student.page, "resource", "jlab_core"), sizes(student.page, "navigation", "/lab/")
    assert sent[0] < sent[1] / 2, "the lab's scripts come compressed"
    assert page[0] == page[1], "pages, which hold secrets, do not"
    solve_first_exercises(student.page)
    run_all_cells(student.page)
    write_reflection(student.page, ANSWER)
    save(student.page)
    hand_in(student)
    teacher.log_in()
    open_formgrader(teacher)
    collect(teacher)
    autograde(teacher, re.compile(STUDENT))
    give_feedback(teacher)
    assert handed_in(site)
    assert float(marks(site)) > 0
    cookies = [cookie for cookie in student.page.context.cookies() if cookie["domain"].endswith(DOMAIN)]
    assert {"_xsrf", "__Host-leerlab-portal"} <= {cookie["name"] for cookie in cookies}
    for cookie in cookies:
        assert cookie["secure"], cookie["name"]


def test_the_playbook_again_changes_nothing(site: Operator) -> None:
    # Upgrades of tests before this one may have left something to tidy up.
    site.play("site.yml")
    again = site.play("site.yml")
    assert not any(again.changed.values()), again.changes
    checked = site.play("site.yml", "--check")
    assert not any(checked.changed.values()), checked.changes
    print(f"site.yml again: {again.seconds:.0f} s")  # noqa: T201


def test_an_upgrade_drops_no_notebook(site: Operator, people: dict[str, Any], tmp_path: Path) -> None:
    page = people[STUDENT].page
    page.goto(f"https://portal.{DOMAIN}/")
    open_assignment(people[STUDENT])
    name = re.search(r"/user/([^/]+)/", page.url)[1]  # type: ignore[index]
    # As JupyterLab's own requests: with the token that other sites' pages cannot read.
    token = "document.cookie.match(/_xsrf=([^;]+)/)[1]"
    kernels = (
        f"fetch('/user/{name}/api/kernels', {{headers: {{'X-XSRFToken': {token}}}}})"
        ".then(answer => answer.json()).then(found => found.map(one => one.id))"
    )
    before = page.evaluate(kernels)
    assert before
    jobs = site.hub.run("squeue --noheader --format=%i --states=RUNNING").stdout.split()
    code = site.hub.run("readlink -f /var/lib/leerlab/bin/leerlab").stdout
    newer = tmp_path / "newer"
    shutil.copytree(
        CODE, newer, symlinks=True, ignore=shutil.ignore_patterns(".git", "build", ".*_cache", "__pycache__")
    )
    with (newer / "base/__init__.py").open("a") as file:
        file.write("# A newer version.\n")
    site.tree = newer
    upgraded = site.play("site.yml")
    site.tree = CODE
    assert site.hub.run("readlink -f /var/lib/leerlab/bin/leerlab").stdout != code, "this was no upgrade"
    assert upgraded.changed["node1"] and upgraded.changed["hub1"]
    assert set(jobs) <= set(site.hub.run("squeue --noheader --format=%i --states=RUNNING").stdout.split())
    assert page.evaluate(kernels) == before, "a kernel was lost"
    run_all_cells(page)
    assert all(finding["ok"] for finding in site.leerlab("doctor"))


@pytest.fixture(scope="module")
def lost(site: Operator) -> dict[str, Any]:
    """What was there before the hub and the common storage were lost; a new, bare machine stands in the hub's place."""
    site.play("backup.yml")
    before = {"files": handed_in(site), "marks": marks(site), "known": known(site)}
    number = site.hub.number
    site.hub.destroy()
    for found in site.shared.glob("*/*"):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    site.machine("hub1", number)
    return before


@pytest.mark.fault
def test_a_truncated_backup_is_refused_before_anything_is_written(site: Operator, lost: dict[str, Any]) -> None:
    pack = max(site.repository.glob("repository/data/*/*"), key=lambda path: path.stat().st_size)
    whole = pack.read_bytes()
    mode = pack.stat().st_mode
    pack.chmod(0o600)
    pack.write_bytes(whole[: len(whole) // 2])
    try:
        refused = site.play("restore.yml", check=False)
    finally:
        pack.write_bytes(whole)
        pack.chmod(mode)
    assert refused.code != 0
    assert "is not whole, and nothing was restored" in refused.output
    assert not site.hub.file(f"{site.state}/exchange").exists()
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert site.hub.run(f'cd / && runuser -u postgres -- psql -AtXc "{tables}" leerlab_hub').stdout.strip() == "0"


def test_a_lost_hub_is_restored_onto_a_new_machine(
    site: Operator, people: dict[str, Any], lost: dict[str, Any]
) -> None:
    assert lost["files"] and "course-" in lost["known"]
    # As the how-to says: what ran before has the lost authority's certificates, and its folders are gone.
    site.controller.run("scancel --user=leerlab")
    restored = site.play("restore.yml")
    assert handed_in(site) == lost["files"]
    assert marks(site) == lost["marks"]
    assert known(site) == lost["known"]
    student = people[STUDENT]
    student.log_in()
    read_feedback(student, "(Score: ")
    print(f"restore.yml: {restored.seconds:.0f} s")  # noqa: T201


@pytest.mark.fault
def test_a_machine_that_holds_a_site_is_not_restored_over(site: Operator) -> None:
    again = site.play("restore.yml", check=False)
    assert again.code != 0
    assert "holds a site" in again.output
    assert all(finding["ok"] for finding in site.leerlab("doctor"))
