"""Finds the cards of the catalogue, and reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from base.described import read_described
from base.errors import InputError
from base.settings import Section
from catalogue.card import Card, DatasetCard, Kind, ModelCard

CATALOGUE = Path(__file__).parent
CARD = "card.yaml"
_MODELS: dict[Kind, type[DatasetCard | ModelCard]] = {Kind.DATASET: DatasetCard, Kind.MODEL: ModelCard}
_FOLDERS = {"datasets": Kind.DATASET, "models": Kind.MODEL}


class CatalogueSettings(Section):
    """Where this site's datasets and models come from, besides those that Leerlab brings."""

    folders: tuple[str, ...] = Field(
        (),
        description="Folders with `datasets/<id>/card.yaml` and `models/<id>/card.yaml` of the site's own; absolute.",
    )


@dataclass(frozen=True)
class Entry:
    """One dataset or model.

    Args:
        folder: where its card lies.
        card: what it says.
    """

    folder: Path
    card: DatasetCard | ModelCard

    @classmethod
    def load(cls, folder: Path, kind: Kind) -> Entry:
        """Read one card.

        Raises:
            InputError: the card is missing or wrong, or the folder is called otherwise than its id.
        """
        file = folder / CARD
        card = read_described(file, _MODELS[kind])
        if card.id != folder.name:
            raise InputError(
                f"{file}: id: the folder is called {folder.name}, the card says {card.id}.",
                "Courses name an entry by its id.",
                "Give both the same name.",
            )
        return cls(folder, card)


def entries(folders: Iterable[str | Path] = ()) -> list[Entry]:
    """Every entry of Leerlab's own catalogue and of the site's folders, by id.

    Args:
        folders: further catalogues, as `CatalogueSettings.folders`.

    Raises:
        InputError: a card is wrong, a folder is missing, or two entries have the same id.
    """
    found: dict[str, Entry] = {}
    for catalogue in (CATALOGUE, *map(Path, folders)):
        if not catalogue.is_dir():
            raise InputError(
                f"{catalogue} is no folder.", "catalogue.folders of site.yaml names it.", "Make it, or take it out."
            )
        for name, kind in _FOLDERS.items():
            for file in sorted(catalogue.glob(f"{name}/*/{CARD}")):
                entry = Entry.load(file.parent, kind)
                if entry.card.id in found:
                    raise InputError(
                        f"{file}: the id {entry.card.id} is taken by {found[entry.card.id].folder / CARD}.",
                        "Nobody could tell which of the two is meant.",
                        "Give it another id.",
                    )
                found[entry.card.id] = entry
    return [found[name] for name in sorted(found)]


def entry_of(found: Sequence[Entry], name: str) -> Entry:
    """The entry with this id.

    Raises:
        InputError: there is none; says which there are.
    """
    for entry in found:
        if entry.card.id == name:
            return entry
    known = ", ".join(entry.card.id for entry in found)
    raise InputError(f"The catalogue has no {name}.", f"It has {known}.", "Use one of these, or add a card.")


def unknown(names: Iterable[str], kind: Kind, found: Sequence[Entry]) -> list[str]:
    """Those of the names that the catalogue does not have as this kind.

    Args:
        names: ids, as a course names them.
    """
    known: set[str] = {entry.card.id for entry in found if isinstance(entry.card, _MODELS[kind])}
    return [name for name in names if name not in known]


def described(card: Card) -> dict[str, object]:
    """The card as JSON."""
    return card.model_dump(mode="json", exclude_none=True)
