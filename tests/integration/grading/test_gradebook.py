"""nbgrader's gradebook as the course's server opens it: with what is the same each time done once."""

from __future__ import annotations

import pytest
from grading_site import Site, last_json

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


def test_gradebooks_of_one_process_share_an_engine_and_see_what_the_others_wrote(released_site: Site) -> None:
    printed = released_site.course(
        "alpha",
        """
import json
from concurrent.futures import ThreadPoolExecutor
from nbgrader.api import Gradebook
from leerlab_lab.gradebook import do_once

def book():
    return Gradebook("sqlite:////home/nb/gradebook.db", "alpha")

do_once()
with book() as first, book() as second:
    shared = first.engine is second.engine
    first.update_or_create_student("anna")
    seen = [one.id for one in second.students]

def write(number):
    with book() as one:
        one.update_or_create_student(f"s{number:02d}")

with ThreadPoolExecutor(4) as threads:
    list(threads.map(write, range(20)))
with Gradebook("sqlite:////home/nb/another.db", "beta") as other:
    elsewhere = [other.engine is first.engine, [one.id for one in other.students]]
with book() as last:
    print(json.dumps([shared, seen, len(last.students), elsewhere]))
""",
    )
    assert last_json(printed) == [True, ["anna"], 21, [False, []]]


def test_a_cell_s_metadata_is_refused_in_nbgrader_s_own_words(released_site: Site) -> None:
    printed = released_site.course(
        "alpha",
        """
import json
from nbformat.v4 import new_code_cell
from nbgrader.nbgraderformat import MetadataValidator, ValidationError
from leerlab_lab.gradebook import do_once

about = {"schema_version": 3, "grade": True, "grade_id": "a b!", "locked": 7, "solution": False, "points": "many"}
cell = new_code_cell("1", metadata={"nbgrader": about})
fine = new_code_cell("1", metadata={"nbgrader": {**about, "grade_id": "a", "locked": True, "points": 1}})
said = []
for begin in (lambda: None, do_once):
    begin()
    MetadataValidator().validate_cell(fine)
    try:
        MetadataValidator().validate_cell(cell)
    except ValidationError as error:
        said.append(str(error))
print(json.dumps(said))
""",
    )
    before, after = last_json(printed)
    assert before == after and "Failed validating" in after
