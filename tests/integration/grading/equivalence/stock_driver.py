"""nbgrader as it comes grades work in the current folder, a course's: `python stock_driver.py ASSIGNMENT/STUDENT...`.

Writes a line of JSON for each to `marks.jsonl`: its name, its marks, or null where nbgrader gave none, and its outputs.
"""

import json
import sys
from pathlib import Path

from equal_marks import marks_of, outputs_of
from nbgrader.apps import NbGraderAPI
from nbgrader.apps.nbgraderapp import NbGraderApp

app = NbGraderApp()
app.initialize([])
api = NbGraderAPI(app.coursedir, app.authenticator, parent=app)
generated = set()
with Path("marks.jsonl").open("w") as told:
    for name in sys.argv[1:]:
        assignment, student = name.split("/")
        if assignment not in generated:
            result = api.generate_assignment(assignment)
            assert result["success"], result
            generated.add(assignment)
        result = api.autograde(assignment, student)
        print(name, result["success"], flush=True)  # noqa: T201
        said = {
            "marks": marks_of(api, assignment, student) if result["success"] else None,
            "outputs": outputs_of(Path("autograded", student, assignment)),
        }
        told.write(json.dumps({"name": name, **said}) + "\n")
        told.flush()
