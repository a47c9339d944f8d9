"""Cards are read whole or refused with their line; what others' tools read of them is made from them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mlcroissant
import pytest

from base.errors import InputError
from base.paths import Installation
from catalogue.card import DatasetCard, Kind
from catalogue.croissant import FILE, croissant
from catalogue.entries import CATALOGUE, Entry, entries, entry_of, unknown
from catalogue.shelf import Sources

ENTRIES = entries()
DATASETS = [entry for entry in ENTRIES if isinstance(entry.card, DatasetCard)]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A site's own catalogue with one dataset."""
    shutil.copytree(CATALOGUE / "datasets" / "elecdemand", tmp_path / "datasets" / "eigen")
    change(tmp_path, "id: elecdemand\n", "id: eigen\n")
    return tmp_path


def change(own: Path, old: str, new: str) -> None:
    card = own / "datasets" / "eigen" / "card.yaml"
    text = card.read_text(encoding="utf-8")
    assert text.count(old) == 1
    card.write_text(text.replace(old, new), encoding="utf-8")


def test_every_card_of_leerlab_names_files_that_are_what_it_says() -> None:
    installation = Installation.current()
    sources = Sources(installation.code, installation.packages)
    assert {entry.card.kind for entry in ENTRIES} == {Kind.DATASET, Kind.MODEL}
    for entry in ENTRIES:
        for file in entry.card.files:
            with sources.of(entry, file).open("rb") as opened:
                assert hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256, entry.card.id


@pytest.mark.parametrize("entry", DATASETS, ids=lambda entry: entry.card.id)
@pytest.mark.filterwarnings("ignore")
def test_the_croissant_metadata_in_the_tree_is_the_cards_and_valid(entry: Entry) -> None:
    assert isinstance(entry.card, DatasetCard)
    written = json.loads((entry.folder / FILE).read_text(encoding="utf-8"))
    assert written == croissant(entry.card), "run ./leerlab data croissant"
    metadata = mlcroissant.Dataset(jsonld=written).metadata
    assert not metadata.ctx.issues.errors and not metadata.ctx.issues.warnings
    assert {file.sha256 for file in metadata.distribution} == {file.sha256 for file in entry.card.files}


@pytest.mark.filterwarnings("ignore")
def test_mlcroissant_finds_what_is_wrong(own: Path) -> None:
    (entry,) = [one for one in entries([own]) if one.card.id == "eigen"]
    assert isinstance(entry.card, DatasetCard)
    wrong = croissant(entry.card)
    wrong["recordSet"][0]["field"][0]["source"]["fileObject"]["@id"] = "elsewhere.csv"
    with pytest.raises(mlcroissant.ValidationError):
        mlcroissant.Dataset(jsonld=wrong)


def test_a_sites_own_dataset_is_found_beside_those_of_leerlab(own: Path) -> None:
    found = entries([own])
    assert len(found) == len(ENTRIES) + 1 and entry_of(found, "eigen").folder == own / "datasets" / "eigen"
    assert unknown(["eigen", "elecdemand", "iris", "e5-small"], Kind.DATASET, found) == ["iris", "e5-small"]
    with pytest.raises(InputError, match=r"has no iris.*It has e5-small, eigen"):
        entry_of(found, "iris")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("licence: GPL-3.0-only", "licence: '<free>'", "licence"),
        ("sha256: c336", "sha256: C336", "files.0.sha256"),
        ("rows: 17520", "rows: 0", "rows"),
        ("version: \"1\"", "version: newest", "version"),
        ("kind: dataset", "kind: model", "kind"),
        ("unfit:\n", "misfit:\n", "misfit"),
        ("source: {beside: elecdemand.csv}", "source: {beside: a.csv, package: b/c.csv}", "exactly one of"),
        ("id: eigen\n", "id: anders\n", "the folder is called eigen"),
        ("id: eigen\n", "id: &eigen eigen\n", "card.yaml:1: "),
    ],
)  # fmt: skip
def test_a_wrong_card_is_refused_with_what_is_wrong(own: Path, old: str, new: str, said: str) -> None:
    change(own, old, new)
    with pytest.raises(InputError, match=re.escape(said)):
        entries([own])


def test_two_entries_with_one_id_are_refused(own: Path) -> None:
    (own / "models").mkdir()
    shutil.copytree(CATALOGUE / "models" / "e5-small", own / "models" / "e5-small")
    with pytest.raises(InputError, match="the id e5-small is taken by"):
        entries([own])
    with pytest.raises(InputError, match="is no folder"):
        entries([own / "nowhere"])


@pytest.mark.attack
@pytest.mark.parametrize(
    "source",
    ["{beside: ../../../etc/passwd}", "{package: ../../../../etc/passwd}", "{installed: /etc/passwd}"],
)
def test_no_card_names_a_file_elsewhere(own: Path, source: str) -> None:
    change(own, "source: {beside: elecdemand.csv}", f"source: {source}")
    with pytest.raises(InputError, match=r"files\.0\.source"):
        entries([own])
    # Control: without the pattern the same words lead out of the folder.
    folder, named = own / "datasets" / "eigen", source.strip("{}").partition(": ")[2]
    assert not (folder / named).resolve().is_relative_to(folder)


@pytest.fixture
def home() -> Iterator[Path]:
    """Short enough for a site's state folder."""
    folder = Path(tempfile.mkdtemp(prefix="ll-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
def test_the_commands_tell_of_the_catalogue(home: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", "data", *arguments], capture_output=True, text=True, timeout=60, check=False,
            cwd=CATALOGUE.parent, env={**os.environ, "XDG_STATE_HOME": str(home)},
        )  # fmt: skip

    assert [one["id"] for one in json.loads(run("list", "--json").stdout)] == [entry.card.id for entry in ENTRIES]
    assert "Australian" in run("show", "elecdemand").stdout
    assert "Australische" in run("show", "elecdemand", "--language", "nl").stdout
    absent = run("show", "iris")
    assert absent.returncode == 2 and "The catalogue has no iris" in absent.stderr
    nothing = run("verify", "--json")
    assert nothing.returncode == 1 and len(json.loads(nothing.stdout)["problems"]) == 2 * len(ENTRIES)
    assert run("verify", "--repair").returncode == 0
    (shelf,) = home.glob("leerlab/*/catalogue")
    file = shelf / "elecdemand" / "1" / "elecdemand.csv"
    file.chmod(0o600)
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"9")
    changed = run("verify")
    assert changed.returncode == 1 and "elecdemand: elecdemand.csv has other contents" in changed.stdout
    assert run("verify", "--repair").returncode == 0
