"""card.yaml: what a dataset or model is, where it comes from, and what it is fit for.

The questions are those of "Datasheets for Datasets" (Gebru et al., 2021, doi:10.1145/3458723) and "Model Cards for
Model Reporting" (Mitchell et al., 2019, doi:10.1145/3287560), as far as they fit.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from base.settings import BothLanguages, Section

Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,30}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+){0,3}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$")]
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}"
Below = Annotated[str, StringConstraints(pattern=rf"^{_PART}(/{_PART}){{0,8}}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Address = Annotated[str, StringConstraints(pattern=r"^https://[A-Za-z0-9.-]+(/[^\s<>\"]*)?$", max_length=300)]
LARGEST_FILE = 64 * 2**30
MOST_FILES = 64


class BothTexts(Section):
    """A longer text for people, in both languages."""

    nl: str = Field(min_length=1, max_length=3000, description="In Dutch.")
    en: str = Field(min_length=1, max_length=3000, description="In English.")


class Kind(StrEnum):
    """What an entry of the catalogue is."""

    DATASET = "dataset"
    MODEL = "model"


class Source(Section):
    """Where a file is taken from when the catalogue is made ready; one of three."""

    beside: FileName | None = Field(None, description="A file beside the card.")
    installed: Below | None = Field(None, description="A file of this installation, below its folder.")
    package: Below | None = Field(None, description="A file of a package in `images/locks/catalogue.txt`.")

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(each is not None for each in (self.beside, self.installed, self.package)) != 1:
            raise ValueError("exactly one of beside, installed and package is needed")
        return self


class CardFile(Section):
    """One file of a dataset or model."""

    name: FileName = Field(description="What it is called on the shelf.")
    sha256: Sha256 = Field(description="Digest that it must have.")
    size: int = Field(ge=1, le=LARGEST_FILE, description="Bytes.")
    media_type: str = Field(pattern=r"^[a-z]+/[a-z0-9.+-]+$", description="Such as text/csv.")
    source: Source


class Column(Section):
    """One column of a table."""

    name: str = Field(min_length=1, max_length=80, description="As the file's first line says; or given to it.")
    type: Literal["number", "integer", "text", "time"] = Field(description="What stands in it.")
    unit: str = Field("", max_length=40, description="Unit, such as GW.")
    meaning: BothTexts


class Columns(Section):
    """Many columns of one kind, such as the points of a picture."""

    prefix: str = Field(pattern=r"^[a-z]{1,20}$", description="Each is called so, with its number behind it.")
    count: int = Field(ge=1, le=100_000, description="How many, numbered from 0.")
    type: Literal["number", "integer", "text", "time"]
    meaning: BothTexts


class Card(Section):
    """What every card says."""

    id: Identifier = Field(description="Names the entry in courses, sandboxes and commands.")
    kind: Kind
    version: Version = Field(description="Changes with every byte.")
    title: BothLanguages
    summary: BothTexts = Field(description="One or two sentences.")
    licence: str = Field(pattern=r"^[A-Za-z0-9.+ ()-]{2,80}$", description="SPDX expression (spdx.org/licenses).")
    licence_note: BothTexts | None = Field(None, description="What the licence does not say by itself.")
    creators: tuple[str, ...] = Field(min_length=1, max_length=20, description="Who made it.")
    published: str = Field(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$", description="When it came out: year, month or day.")
    home: Address = Field(description="Where its makers tell about it.")
    cite: str = Field(min_length=1, max_length=500, description="How to cite it.")
    origin: BothTexts = Field(description="Who collected or trained it, from what, why, and how it came here.")
    intended: BothTexts = Field(description="What it is fit for.")
    unfit: BothTexts = Field(description="What it is not fit for.")
    bias: BothTexts = Field(description="Who or what is missing, over-represented or wrong in it.")
    personal_data: BothTexts = Field(description="Whether people can be known from it.")
    upkeep: BothTexts = Field(description="Who looks after it, and what happens with errors.")
    files: tuple[CardFile, ...] = Field(min_length=1, max_length=MOST_FILES)

    @model_validator(mode="after")
    def _own_names(self) -> Card:
        names = [file.name.lower() for file in self.files]
        if len(set(names)) < len(names) or "card.json" in names:
            raise ValueError("two files have the same name, or one is called card.json")
        return self


class DatasetCard(Card):
    """A table of the catalogue."""

    kind: Literal[Kind.DATASET] = Kind.DATASET
    composition: BothTexts = Field(description="What a row is, how many there are, what is missing.")
    preparation: BothTexts = Field(description="What was done to the data before.")
    header: bool = Field(True, description="Whether the first line names the columns.")
    columns: tuple[Column | Columns, ...] = Field(min_length=1, max_length=400, description="From left to right.")
    rows: int = Field(ge=1, description="Rows, without the line of names.")

    @property
    def column_names(self) -> list[str]:
        """Every column's name, from left to right."""
        names: list[str] = []
        for one in self.columns:
            names += [one.name] if isinstance(one, Column) else [f"{one.prefix}{number}" for number in range(one.count)]
        return names


class ModelCard(Card):
    """A model of the catalogue."""

    kind: Literal[Kind.MODEL] = Kind.MODEL
    does: Literal["chat", "embeddings"] = Field(description="What it is asked for.")
    base: str = Field(max_length=200, description="The model that it was made from.")
    parameters: str = Field(max_length=40, description="How large it is, such as 135 M.")
    context: int = Field(ge=1, description="Most tokens that it looks at.")
    trained_on: BothTexts = Field(description="On what, as far as its makers say.")
    evaluation: BothTexts = Field(description="How good it is, by whom measured.")
