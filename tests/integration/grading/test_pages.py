"""Pages with students' work, which teachers and the students themselves open."""

from __future__ import annotations

import re

import pytest
from grading_site import Site, last_json

pytestmark = [pytest.mark.integration, pytest.mark.attack]

PAGES = """
import collections, json, os, nbformat, nbgrader
from nbconvert.exporters import HTMLExporter
from traitlets.config import Config
from leerlab_lab.merge import cleaned, for_marks
from leerlab_lab.pages import SafePages

PICTURE = "<img alt='een cijfer' src='data:image/png;base64,iVBORw0KGgo='>"
new = nbformat.v4
evil = "<script>fout()</script><a href='javascript:fout()'>x</a><img src='http://127.0.0.1:1/x' onerror='fout()'>"
notebook = new.new_notebook(cells=[
    new.new_markdown_cell(evil + "\\n\\n**tekst** $a<b$"),
    new.new_raw_cell(evil, metadata={"raw_mimetype": "text/html"}),
    new.new_raw_cell(evil),
    new.new_code_cell("1", outputs=[new.new_output("display_data", data={"text/html": evil + PICTURE})]),
])
pages = os.path.join(os.path.dirname(nbgrader.__file__), "server_extensions/formgrader")
styles = pages + "/static/node_modules/bootstrap/dist/css"
config = Config({"HTMLExporter": {"template_name": "feedback", "extra_template_basedirs": [pages + "/templates"],
                                  "extra_template_paths": [styles],
                                  "sanitize_html": True}, "Exporter": {"default_preprocessors": []}})
def resources():
    # What nbgrader's own steps would count: all of it nought.
    return {"nbgrader": collections.defaultdict(int), "inlining": {"css": []}}
found = {}
for exporter in (HTMLExporter, SafePages):
    found[exporter.__name__], _ = exporter(config=config).from_notebook_node(notebook, resources=resources())
output = new.new_output
data = {"text/html": evil, "application/javascript": "fout()", "image/svg+xml": "<svg/>"}
shown = [output("display_data", data=data),
         output("execute_result", data={"text/plain": "2.0"}), output("stream", name="stderr", text="pas op"),
         output("error", ename="AssertionError", evalue="", traceback=["AssertionError"])]
found["outputs"] = [one.output_type for one in for_marks(cleaned(shown), "punten")]
found["types"] = [sorted(one.data) for one in cleaned(shown) if one.output_type == "display_data"]
found["html"] = cleaned(shown)[0].data["text/html"]
without = for_marks(cleaned(shown[:-1] + [output("execute_result", data={"text/plain": "1.0"})]), "punten")
found["partial"] = [one.data["text/plain"] for one in without if one.output_type == "execute_result"]
found["streams"] = [one.name for one in without if one.output_type == "stream"]
flood = [output("execute_result", data={"text/plain": f"2.{number}"}) for number in range(1000)]
found["flood"] = [one.output_type for one in for_marks(cleaned([*flood, shown[-1]]), "punten")]
found["last"] = [one.data["text/plain"] for one in for_marks(cleaned(flood), "punten")]
print(json.dumps(found))
"""


def test_a_student_s_texts_and_outputs_cannot_act_in_a_teacher_s_page_or_mislead_its_marks(site: Site) -> None:
    found = last_json(site.course("alpha", PAGES))
    # The control: nbgrader's own page, with nbconvert's own cleaning switched on.
    assert "<script>fout()" in found["HTMLExporter"] and "onerror" in found["HTMLExporter"]
    page = found["SafePages"]
    assert "<strong>tekst</strong>" in page
    # A picture that the student's code showed is a picture, not its bytes as text.
    assert re.search(r'<img [^>]*src="data:image/png;base64,iVBORw0KGgo="', page) and "&lt;img" not in page
    for attempt in ("<script>fout()", "onerror", "javascript:fout", "127.0.0.1:1"):
        assert attempt not in page
        assert attempt not in found["html"]
    assert found["types"] == [["text/html"]]

    # Nor do outputs mislead nbgrader's marking.
    assert found["outputs"][0] == "error" and "execute_result" not in found["outputs"]
    assert found["partial"] == ["1.0"]
    assert found["streams"] == ["stdout"]
    # However many results are shown before it, an error stays an error; without one the last result counts.
    assert found["flood"] == ["error"]
    assert found["last"] == ["2.999"]
