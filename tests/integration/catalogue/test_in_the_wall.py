"""What a notebook gets of the catalogue, behind the wall that every lab and graded notebook has."""

from __future__ import annotations

import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from base.paths import Installation, State
from catalogue.entries import entries
from catalogue.shelf import Shelf, Sources
from confinement import seccomp
from confinement.run import start
from confinement.settings import ConfinementSettings
from confinement.wall import Wall
from grading.plans import NOTEBOOK_ENV, Role, lab_environment, notebook_binds, seccomp_of

pytestmark = [pytest.mark.integration]
SECONDS = 100


@dataclass(frozen=True)
class Inside:
    """A wall as a lab's, with the catalogue of a site."""

    state: State
    home: Path

    def python(self, program: str, *, environment: dict[str, str] | None = None) -> str:
        """What a program prints; the last lines of an error, when it fails."""
        wall = Wall(
            command=(f"{NOTEBOOK_ENV}/bin/python", "-c", textwrap.dedent(program)),
            home=self.home,
            seccomp=seccomp_of(self.state),
            binds=notebook_binds(Installation.current(), self.state),
            environment={**lab_environment(Role.PLAIN), **(environment or {})},
            **ConfinementSettings().sizes(),
        )
        with start(wall) as walled:
            walled.wait(SECONDS)
            return walled.output.decode(errors="replace")


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    root = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    state = State(root / "s")
    state.make()
    seccomp.write_filter(state.generated / "seccomp.bpf")
    installation = Installation.current()
    Shelf(state.catalogue).prepare(entries(), Sources(installation.code, installation.packages))
    home = state.homes / "anna"
    home.mkdir()
    yield Inside(state, home)
    shutil.rmtree(root)


def test_datasets_come_by_their_id_through_hugging_face_datasets_without_a_network(inside: Inside) -> None:
    said = inside.python("""
        from leerlab_lab import data
        demand = data.dataset("elecdemand")
        digits = data.dataset("mnist-5000")
        print(type(demand).__module__, demand.shape, demand.features["Demand"].dtype, demand[0]["Demand"])
        print(digits.shape, sum(digits["digit"]), digits.column_names[:2])
        print(data.dataset("waterflow").shape)
    """)
    assert said.splitlines()[-3:] == [
        "datasets.arrow_dataset (17520, 3) float64 3.91464713",
        "(5000, 785) 22500 ['pixel0', 'pixel1']",
        "(1268, 2)",
    ], said


def test_models_are_files_and_cards_tell_of_both_in_the_notebooks_language(inside: Inside) -> None:
    said = inside.python("""
        from leerlab_lab import data, lesson
        path = data.model("smollm2-135m")
        print(path, path.read_bytes()[:4])
        print(str(data.card("elecdemand")).splitlines()[0])
        lesson.language("en")
        print(str(data.card("elecdemand")).splitlines()[0])
        print("<dt><strong>What is it not fit for?</strong></dt>" in data.card("smollm2-135m")._repr_html_())
        try:
            data.dataset("iris")
        except data.NotInTheCatalogue as error:
            print(error)
    """)
    assert said.splitlines() == [
        "/opt/catalogue/smollm2-135m/1/SmolLM2-135M-Instruct.Q4_1.gguf b'GGUF'",
        "Elektriciteitsvraag per half uur",
        "Electricity demand per half-hour",
        "True",
        "The catalogue has no iris. It has: e5-small, elecdemand, mnist-5000, smollm2-135m, waterflow.",
    ], said


@pytest.mark.attack
def test_a_changed_byte_is_refused_in_the_notebook(inside: Inside) -> None:
    file = inside.state.catalogue / "elecdemand" / "1" / "elecdemand.csv"
    before = file.read_bytes()
    program = 'from leerlab_lab import data\nprint(data.dataset("elecdemand")[0])'
    file.chmod(0o644)
    try:
        file.write_bytes(before.replace(b"3.91464713", b"9.91464713"))
        said = inside.python(program)
        assert "is veranderd en wordt niet gebruikt" in said and "9.91464713" not in said
        # Control: without the comparison the changed value would be handed out.
        unchecked = "from leerlab_lab import data\ndata.checked = lambda name, file: data._folder(name) / file\n"
        assert "9.91464713" in inside.python(unchecked + program)
    finally:
        file.write_bytes(before)
        file.chmod(0o444)


@pytest.mark.attack
def test_no_notebook_writes_in_the_catalogue(inside: Inside) -> None:
    program = """
        import os, pathlib
        for path in ("/opt/catalogue/new", "/opt/catalogue/elecdemand/1/elecdemand.csv", "/home/nb/control"):
            try:
                os.chmod(pathlib.Path(path).parent, 0o700)
            except OSError as error:
                print("chmod", error.errno)
            try:
                open(path, "a").write("x")
                print("written", path)
            except OSError as error:
                print("open", error.errno)
    """
    said = inside.python(program).split("\n")
    assert [line for line in said if "written" in line] == ["written /home/nb/control"]  # the control
    assert said.count("open 30") + said.count("open 13") == 2, said


@pytest.mark.attack
def test_a_cards_words_are_never_markup_in_a_notebook(inside: Inside) -> None:
    said = inside.python("""
        from leerlab_lab import data
        card = data.card("elecdemand")
        card["title"] = {"nl": "<script>alert(1)</script>", "en": "x"}
        card["bias"] = {"nl": "<img src=x onerror=alert(1)>", "en": "x"}
        print("<script" in card._repr_html_(), "<img" in card._repr_html_(), "&lt;img" in card._repr_html_())
        data.html.escape = lambda text: text  # the control: without it
        print("<script" in card._repr_html_(), "<img" in card._repr_html_())
    """)
    assert said.splitlines() == ["False False True", "True True"], said


@pytest.mark.attack
def test_a_pickle_in_a_datasets_place_is_never_run(inside: Inside) -> None:
    file = inside.state.catalogue / "waterflow" / "1" / "waterflow.csv"
    before = file.read_bytes()
    file.chmod(0o644)
    payload = b"cos\nsystem\n(S'echo it ran > /home/nb/ran'\ntR."
    try:
        file.write_bytes(payload)
        # Also when the comparison is gone: what is read as a table is no program.
        said = inside.python("""
            from leerlab_lab import data
            data.checked = lambda name, file: data._folder(name) / file
            try:
                data.dataset("waterflow")
            except Exception as error:
                print("refused", type(error).__name__)
        """)
        assert "refused" in said and not (inside.home / "ran").exists()
        # Control: the payload works where something unpickles it.
        inside.python("import pickle; pickle.load(open('/opt/catalogue/waterflow/1/waterflow.csv', 'rb'))")
        assert (inside.home / "ran").exists()
    finally:
        file.write_bytes(before)
        file.chmod(0o444)
