"""A sandbox's home with an installed kit, and its notebooks run in the notebook environment behind a real wall."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from base.paths import Installation, State
from confinement.run import start
from confinement.wall import Wall
from grading.plans import COMMANDS, LAB, NOTEBOOK_ENV, notebook_binds

SECONDS = 100


@dataclass(frozen=True)
class Ran:
    """A notebook that was run: `seconds` of wall-clock time, the kernel's start included."""

    notebook: nbformat.NotebookNode
    seconds: float

    @property
    def errors(self) -> list[str]:
        return [output.evalue for output in self._outputs() if output.output_type == "error"]

    @property
    def streams(self) -> list[str]:
        """What was printed, warnings of libraries among it."""
        return [output.text for output in self._outputs() if output.output_type == "stream"]

    @property
    def pages(self) -> str:
        """All that a person sees, as HTML and Markdown."""
        shown = [output.data for output in self._outputs() if "data" in output]
        return "\n".join(data.get("text/html", "") + data.get("text/markdown", "") for data in shown)

    @property
    def widgets(self) -> int:
        kind = "application/vnd.jupyter.widget-view+json"
        return sum(kind in output.get("data", {}) for output in self._outputs())

    def _outputs(self) -> list[Any]:
        return [output for cell in self.notebook.cells for output in cell.get("outputs", [])]


@dataclass(frozen=True)
class Sandbox:
    """Somebody's home in a sandbox, with the kit in one language."""

    home: Path
    kit: Path
    language: str
    seccomp: Path

    @property
    def incoming(self) -> Path:
        return self.home / "sandbox" / "incoming"

    @property
    def notebooks(self) -> list[Path]:
        return sorted(self.kit.glob("*.ipynb"))

    def run(self, notebook: Path) -> Ran:
        """Restart and run all, behind a wall without any way out."""
        result = self.home / f"{notebook.stem}.run"
        began = time.monotonic()
        code, said = self._inside(
            "-m", "leerlab_lab.execute", self._seen(notebook), self._seen(result), "--cell-time", "60"
        )
        assert code == 0, said
        return Ran(nbformat.read(result, as_version=4), time.monotonic() - began)

    def python(self, program: str) -> str:
        """What a program prints, in the kit's folder behind the same wall."""
        code, said = self._inside("-c", program)
        assert code == 0, said
        return said

    def choose(self, file: str, **more: object) -> None:
        """As the picker keeps it."""
        (self.kit / "keuze.json").write_text(json.dumps({"file": f"/home/nb/sandbox/incoming/{file}", **more}))

    def _seen(self, path: Path) -> str:
        return f"/home/nb/{path.relative_to(self.home)}"

    def _inside(self, *arguments: str) -> tuple[int, str]:
        state = State(self.home.parent / "state")
        state.catalogue.mkdir(parents=True, exist_ok=True)
        wall = Wall(
            command=(f"{NOTEBOOK_ENV}/bin/python", *arguments),
            home=self.home,
            seccomp=self.seccomp,
            binds=notebook_binds(Installation.current(), state),
            environment={
                "PATH": COMMANDS,
                "PYTHONPATH": str(LAB),
                "MPLCONFIGDIR": "/tmp/matplotlib",
                "IPYTHONDIR": "/tmp/ipython",
            },
            folder=Path(self._seen(self.kit)),
        )
        with start(wall) as walled:
            code = walled.wait(SECONDS)
            return code, walled.output.decode(errors="replace")
