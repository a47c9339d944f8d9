"""A kit comes into a sandbox whole, private, and beside what was there; never over it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from base.errors import InputError, LeerlabError
from sandboxes.starters import starter as module
from sandboxes.starters.starter import STARTERS, Starter, install, starters


@pytest.fixture
def maintenance() -> Starter:
    return Starter.load(STARTERS / "maintenance")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(STARTERS / "maintenance", tmp_path / "maintenance", ignore=ignore))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_kits_are_listed_with_what_a_page_shows_of_them() -> None:
    (kit,) = starters()
    assert (kit.id, kit.minutes) == ("maintenance", 30)
    assert (kit.title("nl"), kit.title("en")) == ("Voorspellend onderhoud", "Predictive maintenance")
    assert kit.summary("nl") != kit.summary("en") and kit.sector("nl") == "Water en industrie"
    assert (kit.first("nl"), kit.first("en")) == ("1-kijken.ipynb", "1-look.ipynb")


def test_every_file_of_the_kit_is_described(maintenance: Starter) -> None:
    present = {
        str(file.relative_to(maintenance.folder))
        for file in maintenance.folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert present - {"starter.yaml"} == {file.path for file in maintenance.description.files}


@pytest.mark.parametrize("language", ["nl", "en"])
def test_an_installed_kit_has_the_files_of_its_language_and_is_private(
    language: str, maintenance: Starter, files: Path
) -> None:
    old = os.umask(0)
    try:
        folder = install(maintenance, files, language)
    finally:
        os.umask(old)
    assert folder.name == {"nl": "voorspellend-onderhoud", "en": "predictive-maintenance"}[language]
    names = set(contents(folder))
    assert maintenance.first(language) in names and "onderhoud/kit.py" in names and "data/waterstroom.csv" in names
    assert len([name for name in names if name.endswith(".ipynb")]) == 3
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert [path.name for path in files.iterdir()] == [folder.name]


def test_what_was_there_stays_whatever_it_is(maintenance: Starter, files: Path, tmp_path: Path) -> None:
    first = install(maintenance, files, "nl")
    (first / "1-kijken.ipynb").write_text("van mij")
    before = contents(first)
    (files / "voorspellend-onderhoud-2").write_text("een bestand")
    (files / "voorspellend-onderhoud-3").symlink_to(tmp_path / "nergens")
    (files / "voorspellend-onderhoud-4").mkdir()
    elsewhere = tmp_path / "elders"
    elsewhere.mkdir()
    (files / "voorspellend-onderhoud-5").symlink_to(elsewhere)
    assert install(maintenance, files, "nl").name == "voorspellend-onderhoud-6"
    assert contents(first) == before
    assert (files / "voorspellend-onderhoud-2").read_text() == "een bestand"
    assert not (tmp_path / "nergens").exists()
    assert not list(elsewhere.iterdir()) and not list((files / "voorspellend-onderhoud-4").iterdir())


@pytest.mark.attack
def test_a_member_who_swaps_the_folder_for_a_link_meanwhile_moves_nothing_outside(
    maintenance: Starter, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "buiten"
    outside.mkdir()
    write = module._write

    def swap(made: int, target: object, content: bytes) -> None:
        (fresh,) = (path for path in files.iterdir() if path.name.startswith(".starter-") and not path.is_symlink())
        fresh.rename(files / "weg")
        fresh.symlink_to(outside)
        monkeypatch.setattr(module, "_write", write)
        # The same way without the defence: by name, through the link.
        (fresh / "control").write_bytes(b"through the link")
        write(made, target, content)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write", swap)
    with contextlib.suppress(LeerlabError):
        install(maintenance, files, "nl")
    assert [path.name for path in outside.iterdir()] == ["control"]


@pytest.mark.fault
def test_a_full_disk_leaves_no_half_kit_and_says_so(
    maintenance: Starter, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    write = module._write

    def full(made: int, target: object, content: bytes) -> None:
        if len(written) == 5:
            raise OSError(28, "No space left on device")
        written.append(target)
        write(made, target, content)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(LeerlabError, match="No space left"):
        install(maintenance, files, "nl")
    assert list(files.iterdir()) == []


def test_too_many_copies_are_refused(maintenance: Starter, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COPIES", 2)
    install(maintenance, files, "nl")
    install(maintenance, files, "nl")
    with pytest.raises(LeerlabError):
        install(maintenance, files, "nl")
    assert len(list(files.iterdir())) == 2


def test_changed_data_are_not_handed_out(copy: Path, files: Path) -> None:
    with (copy / "data" / "waterstroom.csv").open("a") as file:
        file.write("2022-05-16T23:00:00+02:00,1.0\n")
    with pytest.raises(LeerlabError, match=r"waterstroom\.csv"):
        install(Starter.load(copy), files, "nl")
    assert list(files.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"minutes": 0}, "minutes"),
        ({"id": "other"}, "lies in"),
        ({"colour": "red"}, "colour"),
        ({"first": {"nl": "weg.ipynb", "en": "1-look.ipynb"}}, "first notebook"),
        ({"files": [{"path": "../../secret"}]}, "files.0.path"),
        ({"files": [{"path": "/etc/passwd"}]}, "files.0.path"),
        (
            {"files": [{"path": "nl/1-kijken.ipynb"}, {"path": "1-kijken.ipynb"}, {"path": "en/1-look.ipynb"}]},
            "same place",
        ),
        ({"files": [{"path": "nl/1-kijken.ipynb"}, {"path": "en/1-look.ipynb"}, {"path": "weg.py"}]}, "missing"),
    ],
)
def test_a_wrong_description_is_refused(change: dict[str, object], said: str, copy: Path) -> None:
    file = copy / "starter.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **change}))
    with pytest.raises(InputError, match=said):
        Starter.load(copy)


def test_the_data_are_rivers_own_and_the_datasheet_says_what_they_are(maintenance: Starter) -> None:
    data = maintenance.folder / "data"
    digest = hashlib.sha256((data / "waterstroom.csv").read_bytes()).hexdigest()
    # The digest of river/datasets/water-flow.csv in river 0.26.1 on PyPI.
    assert digest == "6c84efeb8b148dd2ace656f11f5bd90de22dad014b094e3baafd8dbca69c83dc"
    (described,) = (file.sha256 for file in maintenance.description.files if file.path == "data/waterstroom.csv")
    assert described == digest
    with (data / "waterstroom.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == 1268
    sheet = (data / "README.md").read_text()
    for said in ("river 0.26.1", "BSD-3-Clause", "Tecnojest", "litres per second", "Not for", "1,268 rows"):
        assert said in sheet


def test_the_known_faults_are_the_hours_beyond_the_bounds_of_the_datasheet(maintenance: Starter) -> None:
    data = maintenance.folder / "data"
    with (data / "waterstroom.csv").open() as file:
        rows = [(row[0][:16].replace("T", " "), not 95 <= float(row[1]) <= 106) for row in list(csv.reader(file))[1:]]
    edges = [(rows[0][0], False), *rows, (rows[-1][0], False)]
    starts = [time for (_, before), (time, now) in pairwise(edges) if now and not before]
    ends = [time for (time, now), (_, after) in pairwise(edges) if now and not after]
    with (data / "bekende-storingen.csv").open() as file:
        known = [(row["start"], row["end"]) for row in csv.DictReader(file)]
    # 29 March is one fault: at 08:00 the flow passes through the usual on its way down.
    assert ("2022-03-29 07:00" in ends) and ("2022-03-29 09:00" in starts)
    ends.remove("2022-03-29 07:00")
    starts.remove("2022-03-29 09:00")
    assert list(zip(starts, ends, strict=True)) == known
