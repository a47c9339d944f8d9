"""Proves what an assignment promises, from inside a lab or behind the toolkit's wall.

    from leerlab_lab import coursecheck

    result = coursecheck.check(
        "mijn-opdracht.ipynb",
        wrong=[
            {
                "name": "telt-alles",
                "misconception": {"nl": "Telt alles op.", "en": "Adds up everything."},
                "loses": "controle-gemiddelde",
                "message": "Deel nog door het aantal.",
                "cells": {"gemiddelde": "def gemiddelde(x):\n    return sum(x)\n"},
            }
        ],
        other=[{"name": "met-een-lus", "cells": {"gemiddelde": "def gemiddelde(x): ..."}}],
    )
    result.ok          # True or False
    result             # in a notebook: a table in Dutch; result.in_language("en") in English
    result.findings    # what is wrong: .code, .cell, .case, .says("nl"), .why("nl"), .do("nl")
    result.cases       # one a case: .name, .kind, .ok, .seconds, .marks {grade_id: (got, most)}

`check(notebook, wrong=(), other=(), *, least_wrong=0, least_other=0, language="nl", jobs=None) -> Result`

- `notebook`: path of a source notebook in nbgrader's format, with `### BEGIN SOLUTION` and `### BEGIN HIDDEN TESTS`. Other
  files of its folder, except notebooks, go along. Nothing in that folder is changed.
- `wrong`, `other`: cases as in `wrong/*.yaml` and `other/*.yaml` of a course, as dicts.
- It makes the release with the real nbgrader, and has it grade the reference (twice), the untouched release, a learner who
  edits, deletes or renames a test cell, and every case. It never raises for a fault of the notebook: that is a finding.
- `ValueError`: an argument has not the form above. `FileNotFoundError`: there is no such notebook.
"""
