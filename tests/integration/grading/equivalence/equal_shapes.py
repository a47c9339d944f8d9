"""What students do to a notebook beside writing code: cells moved, lost, copied and added, old formats, odd letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from copy import deepcopy

import nbformat
from nbformat import NotebookNode

Shape = Callable[[NotebookNode], None]
SHAPES: dict[str, Shape] = {}
new = nbformat.v4


def shape(name: str) -> Callable[[Shape], Shape]:
    def take(change: Shape) -> Shape:
        SHAPES[name] = change
        return change

    return take


def at(notebook: NotebookNode, name: str) -> int:
    """Where the cell with a grade_id is."""
    return next(
        number
        for number, cell in enumerate(notebook.cells)
        if cell.metadata.get("nbgrader", {}).get("grade_id") == name
    )


def cell_of(notebook: NotebookNode, name: str) -> NotebookNode:
    return notebook.cells[at(notebook, name)]


@shape("test cell deleted")
def _(notebook: NotebookNode) -> None:
    del notebook.cells[at(notebook, "zichtbaar")]


@shape("answer cell deleted")
def _(notebook: NotebookNode) -> None:
    del notebook.cells[at(notebook, "antwoord")]


@shape("answer in a new cell after the old one was deleted")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "antwoord")
    notebook.cells[place] = new.new_code_cell(notebook.cells[place].source)


@shape("cell for a manual mark deleted")
def _(notebook: NotebookNode) -> None:
    del notebook.cells[at(notebook, "uitleg")]


@shape("task cell deleted")
def _(notebook: NotebookNode) -> None:
    del notebook.cells[at(notebook, "verslag")]


@shape("test moved before the answer")
def _(notebook: NotebookNode) -> None:
    test = notebook.cells.pop(at(notebook, "zichtbaar"))
    notebook.cells.insert(0, test)


@shape("answer moved to the end")
def _(notebook: NotebookNode) -> None:
    notebook.cells.append(notebook.cells.pop(at(notebook, "antwoord")))


@shape("cells in reverse order")
def _(notebook: NotebookNode) -> None:
    notebook.cells.reverse()


@shape("answer split over two cells")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "antwoord")
    text = notebook.cells[place].source
    notebook.cells[place].source = "helft = 1"
    notebook.cells.insert(place + 1, new.new_code_cell(text))


@shape("answer written in the wrong cell")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "eigen-test").source = cell_of(notebook, "antwoord").source
    cell_of(notebook, "antwoord").source = ""


@shape("answer emptied")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "antwoord").source = "  \n"


@shape("empty cells between")
def _(notebook: NotebookNode) -> None:
    for place in range(len(notebook.cells), -1, -1):
        notebook.cells.insert(place, new.new_code_cell(" \n" * (place % 2)))


@shape("raw and markdown cells between")
def _(notebook: NotebookNode) -> None:
    for place in range(len(notebook.cells), -1, -1):
        notebook.cells.insert(place, new.new_raw_cell("1 / 0", metadata={"format": "text/latex"}))
        notebook.cells.insert(place, new.new_markdown_cell("# kop\n<script>1</script>"))


@shape("hundred cells of one's own")
def _(notebook: NotebookNode) -> None:
    notebook.cells[1:1] = [new.new_code_cell(f"x{number} = {number}\nx{number}") for number in range(100)]


@shape("markdown answered")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "uitleg").source = "Ik vermenigvuldig $x$ met zichzelf."
    cell_of(notebook, "eigen-test").source = "assert kwadraat(5) == 25"
    notebook.cells.append(new.new_markdown_cell("Mijn verslag."))


@shape("own test that fails")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "eigen-test").source = "assert kwadraat(5) == 26"


@shape("manual answers emptied")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "uitleg").source = ""
    cell_of(notebook, "eigen-test").source = ""


@shape("answer turned into markdown")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "antwoord")
    old = notebook.cells[place]
    notebook.cells[place] = new.new_markdown_cell(old.source, metadata=old.metadata)


@shape("test turned into markdown")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "zichtbaar")
    old = notebook.cells[place]
    notebook.cells[place] = new.new_markdown_cell(old.source, metadata=old.metadata)


@shape("explanation turned into code")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "uitleg")
    old = notebook.cells[place]
    notebook.cells[place] = new.new_code_cell(old.source, metadata=old.metadata)


@shape("test changed")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "zichtbaar").source = "assert True"
    cell_of(notebook, "antwoord").source = "def kwadraat(x):\n    return 0"


@shape("hidden test guessed away")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "verborgen").source = ""


@shape("points, lock and kind changed")
def _(notebook: NotebookNode) -> None:
    about = cell_of(notebook, "zichtbaar").metadata.nbgrader
    about.points, about.locked = 50, False


@shape("test cell copied")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "zichtbaar")
    copy = deepcopy(notebook.cells[place])
    copy.id = "een-kopie"
    notebook.cells.insert(place + 1, copy)


@shape("answer cell copied, the copy unfinished")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "antwoord")
    copy = deepcopy(notebook.cells[place])
    copy.id, copy.source = "een-kopie", "def kwadraat(x):\n    return x"
    notebook.cells.insert(place, copy)


@shape("test cell copied without its metadata")
def _(notebook: NotebookNode) -> None:
    place = at(notebook, "zichtbaar")
    notebook.cells.insert(place, new.new_code_cell(notebook.cells[place].source))


@shape("two cells with one id")
def _(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.id = "dezelfde"


@shape("run out of order, with old outputs")
def _(notebook: NotebookNode) -> None:
    for count, cell in enumerate(reversed(notebook.cells)):
        if cell.cell_type == "code":
            cell.execution_count = 7 * count + 3
            cell.outputs = [
                new.new_output("error", ename="Oud", evalue="oud", traceback=["oud"]),
                new.new_output("execute_result", data={"text/plain": "0"}, execution_count=3),
                new.new_output("stream", name="stderr", text="oud"),
            ]


@shape("old outputs of a megabyte")
def _(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [new.new_output("stream", name="stdout", text="x" * 200_000)]


def _of_minor(minor: int) -> Shape:
    def change(notebook: NotebookNode) -> None:
        notebook.nbformat_minor = minor
        for cell in notebook.cells:
            cell.pop("id", None)

    return change


for _minor in range(5):
    SHAPES[f"nbformat 4.{_minor}"] = _of_minor(_minor)


@shape("metadata of other programs")
def _(notebook: NotebookNode) -> None:
    notebook.metadata |= {
        "colab": {"provenance": [], "toc_visible": True}, "celltoolbar": "Create Assignment", "toc": {"base": 1},
        "language_info": {"name": "python", "version": "3.6.9", "file_extension": ".py"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"version_major": 2, "version_minor": 0, "state": {}}},
        "vscode": {"interpreter": {"hash": "x"}}, "jupytext": {"formats": "ipynb,py"}, "authors": [{"name": "Żółć 😀"}],
    }  # fmt: skip
    for cell in notebook.cells:
        cell.metadata |= {
            "tags": ["parameters", "raises-exception"], "collapsed": True, "scrolled": "auto", "editable": True,
            "jupyter": {"source_hidden": True}, "slideshow": {"slide_type": "slide"},
            "execution": {"iopub.status": "x"},
        }  # fmt: skip


@shape("answer marked to be skipped")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "antwoord").metadata.tags = ["skip-execution"]


@shape("test marked to be skipped")
def _(notebook: NotebookNode) -> None:
    cell_of(notebook, "antwoord").source = "def kwadraat(x):\n    return 0"
    cell_of(notebook, "zichtbaar").metadata.tags = ["skip-execution"]


def _with_kernel(kernel: dict[str, str] | None) -> Shape:
    def change(notebook: NotebookNode) -> None:
        notebook.metadata.pop("kernelspec", None)
        if kernel is not None:
            notebook.metadata.kernelspec = kernel

    return change


for _name, _kernel in {
    "kernel of an old Python": {"name": "python2", "display_name": "Python 2"},
    "kernel of somebody's own machine": {"name": "conda-env-mijn-py", "display_name": "Python [conda env:mijn]"},
    "kernel of another language": {"name": "ir", "display_name": "R", "language": "R"},
    "no kernel named": None,
}.items():
    SHAPES[_name] = _with_kernel(_kernel)


def _with_code(text: str) -> Shape:
    def change(notebook: NotebookNode) -> None:
        cell = cell_of(notebook, "antwoord")
        cell.source = text.replace("{answer}", cell.source)

    return change


for _name, _text in {
    "emoji and accents": "{answer}\ngroet = 'hé 😀 👩‍👩‍👧 𝔘'\nprint(groet)",
    "right to left": "{answer}\nשלום = 'مرحبا'\nprint(שלום)",
    "names in other alphabets": "{answer}\nπ, ñ, 变量 = 3, 1, 2\nassert π + ñ + 变量 == 6",
    "composed and decomposed letters": "{answer}\n" + unicodedata.normalize("NFD", "één") + " = 1\nassert één == 1",
    "invisible letters in text": "{answer}\nx = 'a\u200b\u202eb\u00a0c\u2028d'\nprint(len(x))",
    "non-breaking space in code": "{answer}\nx\u00a0= 1",
    "byte order mark": "\ufeff{answer}",
    "null character": "{answer}\nx = 'a\0b'",
    "tabs and form feeds": "{answer}\n\x0c\nif True:\n\tprint('tab')",
    "a line of a hundred thousand letters": "{answer}\nx = [" + "1, " * 33_000 + "]\nprint(sum(x))",
    "ten thousand lines": "{answer}\n" + "x = 1\n" * 10_000,
    "very deep brackets": "{answer}\nx = " + "(" * 150 + "1" + ")" * 150,
    "prompts copied along": ">>> x = 1\n>>> y = 2\n",
    "quotes of a word processor": "{answer}\nprint(“hallo”)",
}.items():
    SHAPES[_name] = _with_code(_text)


@shape("line ends of Windows")
def _(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        if not cell.metadata.get("nbgrader", {}).get("locked"):
            cell.source = cell.source.replace("\n", "\r\n")


@shape("line ends of Windows everywhere")
def _(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n")


@shape("pictures attached")
def _(notebook: NotebookNode) -> None:
    cell = cell_of(notebook, "uitleg")
    cell.source = "![x](attachment:x.png)"
    cell.attachments = {"x.png": {"image/png": "iVBORw0KGgo="}}
