"""`leerlab check`: every problem at once, each with its line and what is allowed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from base.errors import InputError
from hub_config.check import MOST_PROBLEMS, check, load
from hub_config.site import Site
from hub_config.site import load as load_types

GOOD = """\
site: {name: proef}
hub:
  bind: 127.0.0.1
login:
  kind: demo
  people:
    - {name: sanne, title: Sanne, groups: [nbgrader-les]}
    - {name: docent, title: Docent, groups: [formgrade-les]}
cluster:
  kind: embedded
  nodes:
    - {name: gpu01, cpus: 8, memory: 16G, gpus: 2, shards: 8}
    - {name: cpu01, cpus: 8, memory: 16G}
  partitions:
    - {name: cpu, nodes: [cpu01], time: 8h, default: true}
    - {name: gpu, nodes: [gpu01], time: 2h}
profiles:
  - id: klein
    title: {nl: Klein, en: Small}
    partition: cpu
    cpus: 1
    memory: 2G
    time: 4h
courses:
  - id: les
    folder: mbo/les
    profile: klein
    released: [een]
grading:
  profile: klein
"""

Check = Callable[[str], list[tuple[int, str]]]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with one course that has one assignment."""
    folder = tmp_path_factory.mktemp("catalogue")
    (folder / "mbo/les/source/een").mkdir(parents=True)
    return folder


@pytest.fixture
def found(tmp_path: Path, catalogue: Path) -> Check:
    """Checks a text; gives line and the rest of each problem."""

    def examine(text: str) -> list[tuple[int, str]]:
        file = tmp_path / "site.yaml"
        file.write_text(text)
        problems = check(file, catalogue)
        start = f"{file}:"
        assert all(
            str(problem).startswith(f"{start}{problem.line}: ") and "\n" not in str(problem) for problem in problems
        )
        json.dumps([asdict(problem) for problem in problems])
        return [(problem.line, str(problem).removeprefix(f"{start}{problem.line}: ")) for problem in problems]

    return examine


def line_of(text: str, part: str) -> int:
    """The line on which a part of a text stands."""
    return text[: text.index(part)].count("\n") + 1


def test_a_right_file_has_no_problems_and_is_loaded(found: Check, tmp_path: Path, catalogue: Path) -> None:
    assert found(GOOD) == []
    site = load(tmp_path / "site.yaml", catalogue)
    assert isinstance(site, Site)
    assert str(site.profile("klein").memory) == "2G"
    assert load_types(tmp_path / "site.yaml") == site


def test_the_demo_site_is_right() -> None:
    demo = Path(__file__).parents[3] / "hub_config/demo.yaml"
    assert [str(problem) for problem in check(demo)] == []


ONE_MISTAKE = [
    ("memory: 2G\n", "memory: 2G\n    memry: 2G\n", "memry", "did you mean `memory`?"),
    ("memory: 2G\n", "memory: 2G\n    colour: red\n", "colour", "not known (allowed: id, title, partition"),
    ("    memory: 2G\n", "", "- id: klein", "`profiles.memory` is missing"),
    ("grading:\n  profile: klein\n", "", "site:", "`grading` is missing"),
    ("memory: 2G", "memory: 2 GB", "2 GB", "'2 GB' is not a size"),
    ("memory: 2G", "memory: 1M", "1M", "too small (allowed: text such as 512M or 4G, from 128M to 16T)"),
    ("time: 4h", "time: 60d", "60d", "too large"),
    ("cpus: 1\n", 'cpus: "1"\n', 'cpus: "1"', "is not a whole number (allowed: a whole number from 1"),
    ("cpus: 1\n", "cpus: true\n", "cpus: true", "true is not a whole number"),
    ("cpus: 1\n", "cpus: 1.0\n", "cpus: 1.0", "is not a whole number"),
    ("cpus: 1\n", "cpus:\n", "cpus:\n", "nothing is not a whole number"),
    ("name: docent", "name: 1", "name: 1", "1 is not text"),
    ("name: docent", "name: Docent", "name: Docent", "does not have the right form (allowed: text of the form"),
    ("{name: proef}", "{name: proef, language: no}", "site:", '`no` without quotes means false in YAML (allowed: "no"'),
    ("{name: proef}", "{name: proef, language: de}", "site:", "'de' is not one of the choices (allowed: nl, en)"),
    ("{name: proef}", "{name: een-naam-die-te-lang-is}", "site:", "`site.name`"),
    ("kind: embedded", "kind: embeded", "kind: embeded", "(allowed: kind: embedded or existing)"),
    ("  kind: embedded\n", "", "cluster:", "`cluster.kind` is missing"),
    ("bind: 127.0.0.1", "bind: 0.0.0.0", "bind", "need no password, and 0.0.0.0 can be reached by others"),
    ("bind: 127.0.0.1", "bind: '::'", "bind", "can be reached by others"),
    ("bind: 127.0.0.1", "bind: localhost", "bind", "`hub.bind`"),
    ("name: docent", "name: sanne", "title: Docent", "the person sanne exists already, on line 7"),
    ("name: docent", "name: course-les", "title: Docent", "kept for course accounts"),
    ("[formgrade-les]", "[formgrade-bestaat-niet]", "title: Docent", "(allowed: formgrade-les)"),
    ("[formgrade-les]", "[operators]", "title: Docent", "operator: true"),
    ("name: cpu01", "name: gpu01", "name: gpu01, cpus: 8, memory: 16G}", "the node gpu01 exists already"),
    ("nodes: [gpu01]", "nodes: [gpu09]", "cluster:", "names nodes that do not exist: gpu09"),
    ("partition: cpu", "partition: tpu", "partition: tpu", "does not exist: tpu (allowed: cpu, gpu)"),
    ("memory: 2G", "memory: 64G", "- id: klein", "asks more than any node of partition cpu has"),
    ("time: 4h", "time: 9h", "    time: 9h", "longer than partition cpu allows"),
    ("cpus: 1\n", "cpus: 1\n    gpus: 1\n", "- id: klein", "asks more than any node"),
    ("profile: klein\n    rel", "profile: groot\n    rel", "profile: groot", "does not exist: groot (allowed: klein)"),
    ("grading:\n  profile: klein", "grading:\n  profile: groot", "profile: groot", "(allowed: klein)"),
    ("folder: mbo/les", "folder: mbo/geen", "folder", "the folder of the course les does not exist"),
    ("folder: mbo/les", "folder: mbo/../../etc", "folder", "leads upwards"),
    ("folder: mbo/les", f"folder: {'é' * 200}", "folder", "does not exist"),
    ("released: [een]", "released: [een, twee]", "released", "has no assignment twee (allowed: een)"),
    ("released: [een]", "released: [een, een]", "released", "names the assignment een twice"),
    ("released: [een]", "grade: on submit", "grade: on", "is no time to grade (allowed: by_hand, on_submit"),
    ("released: [een]", "grade: daily at 3:00", "grade: daily at 3:00", "'daily at 3:00' is no time to grade"),
    ("released: [een]", "grade: {at: '03:00'}", "grade: {at", "no time to grade (allowed: by_hand, on_submit"),
    ("grading:\n", "grading:\n  cell_time: 1h\n", "grading:", "cell_time (1h) is longer than notebook_time"),
    ("grading:\n", "grading:\n  notebook_time: 5h\n", "notebook_time", "longer than the profile klein runs"),
    ("grading:\n", "sandboxes: {profile: groot}\ngrading:\n", "sandboxes:", "does not exist: groot (allowed: klein"),
    ("grading:\n", "sandboxes: {profile: klein, gpu_hours: 2}\ngrading:\n", "sandboxes:", "counts nothing"),
    ("grading:\n", "ledger: {url: 'postgresql://u:p@h/d'}\ngrading:\n", "ledger", "an address with a password"),
    ("grading:\n", "ledger: {url: 'sqlite://'}\ngrading:\n", "ledger", "neither the address of a SQLite file"),
    ("grading:\n", "ledger: {url: 'postgresql:///d?host=/run&password=x'}\ngrading:\n", "ledger", "with a password"),
    ("grading:\n", "ledger: {url: 'postgresql:///d?host=db.example'}\ngrading:\n", "ledger", "of another machine"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "where", "words"), ONE_MISTAKE)
def test_one_mistake_is_one_problem_on_its_line(found: Check, old: str, new: str, where: str, words: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    problems = found(text)
    assert len(problems) == 1, problems
    [(line, message)] = problems
    assert words in message
    assert line == line_of(text, where)


def test_a_node_has_room_for_what_graded_runs_share(found: Check) -> None:
    text = GOOD.replace("memory: 2G", "memory: 15G")
    [(line, message)] = found(text)
    assert "no node of the partition cpu has that" in message
    assert line == len(text.splitlines()), "where grading names its profile"


def test_a_profile_and_a_course_that_stand_twice_are_named(found: Check) -> None:
    start, end = GOOD.index("  - id: klein"), GOOD.index("courses:")
    course = GOOD[GOOD.index("  - id: les") : GOOD.index("grading:")]
    text = GOOD.replace("courses:\n", GOOD[start:end] + "courses:\n" + course)
    assert [message.split(",")[0] for _, message in found(text)] == [
        "the profile klein exists already",
        "the course les exists already",
    ]


def test_mistakes_everywhere_are_all_reported_in_order_of_lines(found: Check) -> None:
    text = GOOD
    for old, new in (
        ("{name: proef}", "{name: proef, kleur: rood}"),
        ("bind: 127.0.0.1", "bind: 0.0.0.0"),
        ("[nbgrader-les]", "[nbgrader-geen]"),
        ("name: docent", "name: Docent"),
        ("cpus: 8, memory: 16G}", "cpus: acht, memory: 16G}"),
        ("memory: 2G", "memory: veel"),
        ("released: [een]", "released: [een, twee]"),
        ("grading:\n  profile: klein", "grading:\n  profile: groot"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    lines = [line for line, _ in found(text)]
    assert lines == sorted(lines)
    assert len(lines) == 8


def test_a_sandbox_never_gets_parts_of_a_shared_gpu(found: Check) -> None:
    part = "  - {id: deel, title: {nl: D, en: P}, partition: gpu, cpus: 1, memory: 1G, time: 1h, shards: 1}\n"
    text = GOOD.replace("courses:\n", part + "courses:\n").replace(
        "grading:\n", "sandboxes: {profile: deel}\ngrading:\n"
    )
    assert ["parts of a shared GPU" in message for _, message in found(text)] == [True]


def test_an_existing_cluster_bounds_profiles_too(found: Check) -> None:
    start, end = GOOD.index("cluster:"), GOOD.index("profiles:")
    existing = (
        "cluster:\n  kind: existing\n  slurm_conf: /etc/slurm/slurm.conf\n  partitions:\n"
        "    - {name: cpu, time: 8h, cpus: 4, memory: 8G, default: true}\n"
    )
    text = GOOD[:start] + existing + GOOD[end:]
    assert found(text) == []
    [(_, message)] = found(text.replace("cpus: 1\n", "cpus: 5\n"))
    assert "asks more than any node of partition cpu has" in message


ACCOUNTS = "unix_accounts: {kind: made, first_uid: 70000, count: 500}\n"


def test_people_have_unix_accounts_only_where_slurm_is_roots(found: Check) -> None:
    text = GOOD + ACCOUNTS
    ((line, message),) = found(text)
    assert line == line_of(text, "unix_accounts:") and "run by an ordinary account" in message
    start, end = text.index("cluster:"), text.index("profiles:")
    existing = (
        "cluster:\n  kind: existing\n  slurm_conf: /etc/slurm/slurm.conf\n  partitions:\n"
        "    - {name: cpu, time: 8h, cpus: 4, memory: 8G, default: true}\n"
    )
    text = text[:start] + existing + text[end:]
    assert found(text) == []
    directory = "unix_accounts: {kind: directory, claim: uid, first_uid: 2000, last_uid: 9000}\n"
    ((line, message),) = found(text.replace(ACCOUNTS, directory))
    assert "people of the demo login have no claims" in message
    for old, new in (("count: 500", "count: 0"), ("70000", "0"), ("made", "borrowed")):
        assert found(text.replace(old, new)), new


def test_data_that_a_profile_shares_must_be_there_for_everybody(found: Check, tmp_path: Path) -> None:
    data = tmp_path / "weer"
    data.mkdir(mode=0o755)
    text = GOOD.replace("    cpus: 1\n", f"    cpus: 1\n    data: [{{name: weer, folder: {data}}}]\n", 1)
    assert text != GOOD and found(text) == []
    data.chmod(0o700)
    ((line, message),) = found(text)
    assert line == line_of(text, "data:") and "no folder that everybody can read" in message
    data.rmdir()
    ((_, message),) = found(text)
    assert "No such file" in message
    assert found(text.replace(str(data), "/srv/../etc"))


def test_loading_a_wrong_file_says_everything_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("site: {name: x}\nwhat: 1\n")
    with pytest.raises(InputError, match=r"site\.yaml:1: .*\n.*site\.yaml:2: the key `what` is not known"):
        load(file)


def test_a_flood_of_problems_is_bounded(found: Check) -> None:
    problems = found("".join(f"wrong{number}: 1\n" for number in range(1000)))
    assert len(problems) == MOST_PROBLEMS + 1
    assert "more problems" in problems[-1][1]


@pytest.mark.parametrize(
    "text", ["", "{}", "site:\n", "site: []\n", "login: {people: [1, [], {}]}\n", "courses: {a: 1}\n", "profiles: x\n"]
)
def test_wrong_shapes_are_problems_not_failures(found: Check, text: str) -> None:
    assert found(text)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
WORDS = st.sampled_from(["cpu", "klein", "les", "demo", "4G", "1h"])
KEYS = st.sampled_from(["name", "id", "kind", "people", "nodes", "profile", "groups", "title", "x"])
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)
SECTIONS = tuple(Site.model_fields)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(SECTIONS), VALUES, max_size=4))
def test_no_shape_of_values_makes_check_fail(found: Check, value: dict[str, object]) -> None:
    assert found(json.dumps(value))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(GOOD)), st.integers(0, 40), st.text(max_size=6))
def test_no_damage_to_a_right_file_makes_check_fail(
    tmp_path: Path, catalogue: Path, start: int, length: int, put: str
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(GOOD[:start] + put + GOOD[start + length :], encoding="utf-8", errors="replace")
    for problem in check(file, catalogue):
        assert str(problem).startswith(f"{file}:")


FLOODS = {
    "unknown keys": "".join(f"w{number}: 1\n" for number in range(60_000)),
    "people that exist twice": "login:\n  people:\n" + "    - {name: same, groups: [nbgrader-none]}\n" * 10_000,
    "courses": "courses:\n" + "".join(f"  - {{id: c{n}, folder: f, profile: none}}\n" for n in range(10_000)),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_large_file_of_junk_costs_no_minutes(found: Check, flood: str) -> None:
    begun = time.thread_time()
    assert found(flood)
    assert time.thread_time() - begun < 30


def test_a_text_on_several_lines_still_gives_one_line(found: Check) -> None:
    [(_, message)] = found(GOOD.replace("folder: mbo/les", 'folder: "mbo\\nles"'))
    assert "does not exist" in message


def test_what_a_profile_names_is_checked_on_its_own_line(found: Check) -> None:
    text = GOOD.replace("    time: 4h\n", "    time: 4h\n    qos: les\n    reservation: dinsdag\n    image: taal-1.0\n")
    assert found(text) == [
        (line_of(text, "    qos:"), "profile klein: qos les is not in cluster.qos (allowed: none is there)"),
        (
            line_of(text, "    reservation:"),
            "profile klein: reservation dinsdag is not in cluster.reservations (allowed: none is there)",
        ),
        (
            line_of(text, "    image:"),
            "the profile klein names an image that the site does not: taal-1.0 (allowed: no image without `images`)",
        ),
        (
            line_of(text, "grading:") + 1,
            "the profile klein has `image`, which is for people's own servers alone (allowed: a profile without image)",
        ),
        (
            line_of(text, "grading:") + 1,
            "the profile klein has `reservation`, which is for people's own servers alone "
            "(allowed: a profile without reservation)",
        ),
    ]


def test_the_embedded_slurm_does_not_divide_gpus_into_slices(found: Check) -> None:
    text = GOOD.replace("gpus: 2, shards: 8}", "gpus: 2, gpu_type: 1g.10gb}")
    ((_, words),) = found(text)
    assert "gpu01 has MIG slices" in words and "demonstration: true" in words
    assert found(text.replace("kind: embedded", "kind: embedded\n  demonstration: true")) == []


LIMITS = """\
limits:
  - {id: klas, groups: [nbgrader-les], each: {servers: 1, gpus: 0.5}}
  - {id: rest, named_servers: 2}
"""


def test_limits_are_kept_only_where_slurm_counts(found: Check) -> None:
    counted = GOOD.replace("kind: embedded", "kind: embedded\n  accounting: true") + LIMITS
    assert found(counted) == []
    text = GOOD + LIMITS
    ((line, words),) = found(text)
    assert line == line_of(text, "- {id: klas") and "allowed: only with `cluster.accounting: true`" in words


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[nbgrader-les], each", "[nbgrader-nergens], each", "the limit klas is in a group of a course that does not"),
        ("groups: [nbgrader-les], each", "each", "holds for nobody: klas before it is for everybody"),
        ("id: rest", "id: klas", "the limit klas exists already"),
        ("servers: 1", "servers: 0", "limits"),
        ("gpus: 0.5", "gpus: half", "limits"),
    ],
)
def test_a_limit_that_cannot_hold_is_named_on_its_line(found: Check, old: str, new: str, words: str) -> None:
    text = GOOD.replace("kind: embedded", "kind: embedded\n  accounting: true") + LIMITS.replace(old, new)
    assert text != GOOD
    ((line, message),) = found(text)
    assert line > line_of(text, "limits:") and (words in message or words == "limits")
