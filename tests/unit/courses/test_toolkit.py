"""The toolkit's own parts: sentences, new courses, and the measure of reading."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from base.errors import InputError
from courses.catalogue import Course
from courses.model import Track
from courses.toolkit.findings import SENTENCES, Finding, proof, who
from courses.toolkit.new import new_course

CODE = Path(__file__).parents[3]
COURSECHECK = CODE / "images" / "notebook" / "leerlab_lab" / "coursecheck"
SAID = json.loads(SENTENCES.read_text(encoding="utf-8"))


def test_every_finding_that_the_code_makes_has_its_sentences_and_no_other_is_there() -> None:
    files = [*COURSECHECK.glob("*.py"), *(CODE / "courses" / "toolkit").glob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    made = {f"cases.few_{kind}" for kind in ("wrong", "other")} | {"case.time", "case.memory"}
    known = set(SAID["findings"])
    made |= {code for code in known if f'"{code}"' in text}
    assert known == made


@pytest.mark.parametrize("code", SAID["findings"])
def test_a_finding_says_the_same_things_in_both_languages(code: str) -> None:
    one = SAID["findings"][code]
    for part in ("what", "do"):
        named = [sorted(set(re.findall(r"%\((\w+)\)", one[part][language]))) for language in ("nl", "en")]
        assert named[0] == named[1]
        assert all(one[part][language].strip() for language in ("nl", "en"))
    names = set(re.findall(r"%\((\w+)\)", json.dumps(one)))
    finding = Finding(code=code, params=dict.fromkeys(names, 1))
    for language in ("nl", "en"):
        assert all("%" not in said(language) for said in (finding.what, finding.why, finding.do))
    assert proof(finding.proof, "nl")


def test_imagined_learners_have_names_for_people() -> None:
    assert who("untouched", "nl") == "niets gedaan"
    assert who("wrong.te-veel", "en") == "wrong: te-veel"
    assert who("en.reference", "nl") == "Engels: uitwerking"


@pytest.mark.parametrize("track", Track)
def test_a_new_course_can_be_read_and_has_its_own_name_and_track(tmp_path: Path, track: Track) -> None:
    made = new_course(tmp_path / "mijn-cursus", track)
    course = Course.load(made)
    assert (course.description.id, course.description.track) == ("mijn-cursus", track)
    (assignment,) = course.assignments()
    assert len(list((course.teacher(assignment.id) / "wrong").glob("*.yaml"))) >= 5


def test_a_new_course_overwrites_nothing(tmp_path: Path) -> None:
    there = tmp_path / "mijn-cursus"
    there.mkdir()
    (there / "werk.txt").write_text("van mij")
    with pytest.raises(InputError, match="is there already"):
        new_course(there, Track.MBO)
    assert [file.name for file in there.iterdir()] == ["werk.txt"]


@pytest.mark.parametrize("name", ["Mijn Cursus", "1e", "x", "a" * 40])
def test_a_course_s_name_must_be_an_id(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be a course's name"):
        new_course(tmp_path / name, Track.MBO)
    assert list(tmp_path.iterdir()) == []


def reading() -> ModuleType:
    """The module that runs inside the wall, without what it takes from nbgrader."""
    text = (COURSECHECK / "reading.py").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(("from leerlab_lab", "from nbformat"))]
    spec = importlib.util.spec_from_loader("reading_alone", loader=None)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reading_alone"] = module
    exec("\n".join(kept), module.__dict__)
    return module


def test_the_measure_of_reading_tells_easy_from_hard_in_both_languages() -> None:
    measure = reading()
    easy = "De computer leest een cijfer. Soms gaat het fout. Dan rijdt de wagen naar de verkeerde plaats."
    hard = (
        "De betrouwbaarheid van geautomatiseerde postcodeherkenning is afhankelijk van representatieve "
        "trainingsgegevens, waarbij onzorgvuldigheden in de gegevensverzameling doorwerken in de voorspellingen."
    )
    least = measure.BOUNDS["mbo"][0]
    assert measure.reading_ease(easy).score > least > measure.reading_ease(hard).score
    assert measure.reading_ease("The cat sat on the mat.", "en").score > 100
    academic = "Institutional accountability necessitates comprehensive organisational documentation."
    assert measure.reading_ease(academic, "en").score < 0
