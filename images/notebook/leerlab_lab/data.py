"""Datasets and models of the catalogue, by their id: each file is compared with its card before it is handed out.

    from leerlab_lab import data
    demand = data.dataset("elecdemand").to_pandas()
    weights = data.model("smollm2-135m")
    data.card("elecdemand")

The catalogue is mounted read-only at /opt/catalogue; nothing is ever fetched from elsewhere.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leerlab_lab.lesson import say

if TYPE_CHECKING:
    import datasets

SHELF = Path(os.environ.get("LEERLAB_CATALOGUE", "/opt/catalogue"))
_TYPES = {"number": "float64", "integer": "int64", "text": "string", "time": "string"}
_SEEN: dict[tuple[str, int, int, int], str] = {}


class NotInTheCatalogue(LookupError):
    """The catalogue has nothing by that id."""


class Changed(RuntimeError):
    """A file is not the one that its card describes; it is not used."""


class Card(dict[str, Any]):
    """What the catalogue says of a dataset or model; shows itself in a notebook."""

    QUESTIONS = (
        ("summary", "Wat is het?", "What is it?"),
        ("origin", "Waar komt het vandaan?", "Where does it come from?"),
        ("composition", "Wat zit erin?", "What is in it?"),
        ("trained_on", "Waarvan leerde het?", "What did it learn from?"),
        ("preparation", "Wat is ermee gedaan?", "What was done to it?"),
        ("evaluation", "Hoe goed is het?", "How good is it?"),
        ("intended", "Waar is het goed voor?", "What is it fit for?"),
        ("unfit", "Waar is het niet goed voor?", "What is it not fit for?"),
        ("bias", "Wat is er scheef aan?", "What is skewed about it?"),
        ("personal_data", "Zijn er mensen in te herkennen?", "Can people be known from it?"),
        ("upkeep", "Wie houdt het bij?", "Who looks after it?"),
        ("licence_note", "Over de licentie", "About the licence"),
    )

    def text(self, name: str) -> str:
        """One of its texts in the notebook's language."""
        both = self[name]
        return say(both["nl"], both["en"])

    def lines(self) -> list[tuple[str, str]]:
        """Questions and answers, in the notebook's language."""
        found = [(say(nl, en), self.text(name)) for name, nl, en in self.QUESTIONS if name in self]
        found.append((say("Licentie", "Licence"), self["licence"]))
        found.append((say("Makers", "Makers"), ", ".join(self["creators"])))
        return [*found, (say("Bron", "Source"), self["cite"])]

    def __str__(self) -> str:
        return "\n".join([self.text("title"), *(f"{question}\n  {answer}" for question, answer in self.lines())])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            # JupyterLab floats both; without a box of its own a long question pushes all that follow out of place.
            '<div style="display:flow-root;margin-bottom:.4em">'
            f"<dt><strong>{html.escape(question)}</strong></dt><dd>{html.escape(answer)}</dd></div>"
            for question, answer in self.lines()
        )
        return f"<h4>{html.escape(self.text('title'))}</h4><dl>{rows}</dl>"


def card(name: str) -> Card:
    """What the catalogue says of a dataset or model.

    Args:
        name: its id.

    Raises:
        NotInTheCatalogue: there is none; says which there are.
    """
    return Card(json.loads((_folder(name) / "card.json").read_text(encoding="utf-8")))


def dataset(name: str) -> datasets.Dataset:
    """A dataset as Hugging Face `datasets` has it (https://huggingface.co/docs/datasets).

    Args:
        name: its id.

    Raises:
        NotInTheCatalogue: there is no dataset by that id.
        Changed: a file is not the one that the card describes.
    """
    about = card(name)
    if about["kind"] != "dataset":
        raise NotInTheCatalogue(say(f"{name} is een model, geen dataset.", f"{name} is a model, not a dataset."))
    files = [str(checked(name, file["name"])) for file in about["files"]]
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
    import datasets  # noqa: PLC0415 - two seconds, and whoever asks for a model or a card needs none of it

    datasets.disable_progress_bars()
    columns = {}
    for column in about["columns"]:
        if "prefix" in column:
            columns |= {f"{column['prefix']}{number}": column["type"] for number in range(column["count"])}
        else:
            columns[column["name"]] = column["type"]
    features = datasets.Features({column: datasets.Value(_TYPES[kind]) for column, kind in columns.items()})
    # The rows stay in memory: what is in a folder of the learner's could be changed there.
    return datasets.Dataset.from_csv(
        files,
        features=features,
        keep_in_memory=True,
        cache_dir=os.environ.get("HF_DATASETS_CACHE", "/tmp/datasets"),  # noqa: S108 - the wall's own
        **({} if about["header"] else {"header": None, "names": list(columns)}),
    )


def model(name: str) -> Path:
    """Where a model's file lies; the first, when there are several.

    Args:
        name: its id.

    Raises:
        NotInTheCatalogue: there is no model by that id.
        Changed: the file is not the one that the card describes.
    """
    about = card(name)
    if about["kind"] != "model":
        raise NotInTheCatalogue(say(f"{name} is een dataset, geen model.", f"{name} is a dataset, not a model."))
    return checked(name, about["files"][0]["name"])


def checked(name: str, file: str) -> Path:
    """A file of an entry, once it is known to be the one that the card describes.

    Args:
        name: the entry's id.
        file: the file's name in the card.

    Raises:
        NotInTheCatalogue: there is no such entry or file.
        Changed: it is another file.
    """
    about = next((one for one in card(name)["files"] if one["name"] == file), None)
    if about is None:
        raise NotInTheCatalogue(say(f"{name} heeft geen bestand {file}.", f"{name} has no file {file}."))
    path = _folder(name) / file
    seen = path.lstat()
    key = (str(path), seen.st_ino, seen.st_size, seen.st_mtime_ns)
    if key not in _SEEN and stat.S_ISREG(seen.st_mode):
        with path.open("rb") as opened:
            _SEEN[key] = hashlib.file_digest(opened, "sha256").hexdigest()
    if _SEEN.get(key) != about["sha256"]:
        raise Changed(
            say(
                f"Het bestand {file} van {name} is veranderd en wordt niet gebruikt. Zeg het tegen de beheerder.",
                f"The file {file} of {name} was changed and is not used. Tell the operator.",
            )
        )
    return path


def _folder(name: str) -> Path:
    known = sorted(each.name for each in SHELF.iterdir() if each.is_dir()) if SHELF.is_dir() else []
    if name not in known:
        there = ", ".join(known) or "-"
        raise NotInTheCatalogue(
            say(f"De catalogus heeft geen {name}. Wel: {there}.", f"The catalogue has no {name}. It has: {there}.")
        )
    versions = [each for each in (SHELF / name).iterdir() if (each / "card.json").is_file()]
    if not versions:
        raise NotInTheCatalogue(say(f"{name} is niet compleet.", f"{name} is not complete."))
    return max(versions, key=lambda each: [int(part) for part in each.name.split(".")])
