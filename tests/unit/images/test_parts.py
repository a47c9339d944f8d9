"""Names, manifests, locks, recipes and lists of images: what is taken, and what is refused in words."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from images.apptainer import definition
from images.debian import changed, fetch
from images.errors import BuildFailed, ImageRefused
from images.manifest import DebianPackage, Manifest, Wheel, split_label
from images.recipe import LOCKS, RECIPES, DebianLock, read_recipe
from images.sbom import licences, missing
from images.signature import is_public_key

KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"  # minisign's own, from its documentation
BASH = DebianPackage(name="bash", version="5.2.15-2+b8", architecture="amd64", sha256="a" * 64)


def manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "notebook", "version": "1", "architecture": "amd64", "suite": "bookworm", "sha256": "0" * 64, "size": 1,
        "unpacked": 1, "epoch": 0, "locks": {}, "debian": (BASH,), "python": (), "tools": {}, "beside": {},
    }  # fmt: skip
    return Manifest(**{**values, **changes})


@pytest.mark.parametrize(
    ("label", "parts"),
    [("notebook-1", ("notebook", "1")), ("notebook-cuda-2026.11.1", ("notebook-cuda", "2026.11.1"))],
)
def test_an_image_s_name_has_a_name_and_a_version(label: str, parts: tuple[str, str]) -> None:
    assert split_label(label) == parts


@pytest.mark.parametrize("label", ["notebook", "../x-1", "notebook-", "Notebook-1", "notebook-1/2", "a-1\n", "", "-1"])
def test_what_is_no_name_is_refused(label: str) -> None:
    with pytest.raises(ImageRefused, match=r"must be <name>-<version>"):
        split_label(label)


def test_a_manifest_comes_back_as_it_was_written_and_takes_nothing_else(tmp_path: Path) -> None:
    text = manifest().to_json()
    assert Manifest.from_json(text.encode(), tmp_path) == manifest()
    plain = json.loads(text)
    for wrong in (
        {**plain, "further": 1}, {**plain, "format": 2}, {**plain, "size": "1"}, {**plain, "sha256": "0" * 63},
        {**plain, "name": "../etc"}, {key: value for key, value in plain.items() if key != "epoch"}, [],
    ):  # fmt: skip
        with pytest.raises(ImageRefused, match="is no manifest"):
            Manifest.from_json(json.dumps(wrong).encode(), tmp_path)


def test_public_keys_are_known_from_other_texts() -> None:
    assert is_public_key(KEY)
    for text in ("", KEY[:-1], KEY + "A", "untrusted comment: x", "RW" + "!" * 54, "UldR" * 14):
        assert not is_public_key(text)


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_recipe_has_its_locks_and_they_are_of_that_recipe(file: Path) -> None:
    ingredients = read_recipe(file)
    lock = ingredients.debian()
    assert {"python3", "bash", "libc6"} <= {package.name for package in lock.packages}
    assert ingredients.recipe.name == file.stem
    assert ingredients.debian_file.read_text() == lock.to_json(), "as `leerlab image lock` prints it"
    assert all("--hash=sha256:" in lock.read_text() for lock in ingredients.python_files)


def test_a_lock_of_another_recipe_is_refused(tmp_path: Path) -> None:
    text = (RECIPES / "notebook.toml").read_text()
    (tmp_path / "x.toml").write_text(text.replace('"git"', '"git", "vim"'))
    with pytest.raises(BuildFailed, match="made for another recipe"):
        read_recipe(tmp_path / "x.toml", LOCKS).debian()
    (tmp_path / "y.toml").write_text(text + "\nfurther = 1\n")
    assert tomllib.loads((tmp_path / "y.toml").read_text())
    with pytest.raises(BuildFailed, match="further"):
        read_recipe(tmp_path / "y.toml")


def test_packages_that_the_archive_does_not_give_any_more_are_named() -> None:
    newer = BASH.model_copy(update={"version": "5.2.15-3"})
    assert changed([BASH], {"bash": {BASH, newer}}) == []
    assert changed([BASH], {"bash": {newer}}) == ["bash: locked 5.2.15-2+b8, now 5.2.15-3"]
    assert changed([BASH], {}) == ["bash: locked 5.2.15-2+b8, now none"]
    other = BASH.model_copy(update={"sha256": "b" * 64})
    assert changed([BASH], {"bash": {other}}) == ["bash 5.2.15-2+b8 has another digest now"]


def test_without_a_network_a_missing_or_changed_package_is_named(tmp_path: Path) -> None:
    lock = DebianLock(suite="bookworm", architecture="amd64", epoch=0, asked=(), packages=(BASH,))
    with pytest.raises(BuildFailed, match=r"missing: bash_5\.2\.15-2\+b8_amd64\.deb"):
        fetch(lock, tmp_path, None)
    (tmp_path / BASH.file).write_bytes(b"another")
    with pytest.raises(BuildFailed, match="missing: bash"):
        fetch(lock, tmp_path, None)


def test_the_definition_for_apptainer_names_exactly_this_image() -> None:
    text = definition("notebook", "1", "c" * 64, {"notebook.txt": "d" * 64})
    assert f"{'c' * 64}  notebook-1.squashfs" in text and "Bootstrap: scratch" in text
    assert f"leerlab.lock.notebook.txt {'d' * 64}" in text


def test_what_the_bill_of_materials_leaves_out_is_noticed_and_licences_are_listed() -> None:
    bom = {
        "components": [
            {"name": "bash", "version": "5.2.15-2+b8", "licenses": [{"license": {"id": "GPL-3.0-or-later"}}]},
            {"name": "Jinja2", "version": "3.1", "licenses": [{"expression": "BSD-3-Clause"}]},
            {"name": "torch", "version": "2.13.0+cpu", "licenses": []},
            {"name": "longer", "version": "1", "licenses": [{"license": {"name": "Copyright me\nDo what you want"}}]},
            {"name": "long", "version": "1", "licenses": [{"license": {"name": "MIT License\n\nCopyright ..."}}]},
        ]
    }
    wheels = [
        Wheel(file="jinja2-3.1-py3-none-any.whl", sha256="0" * 64),
        Wheel(file="torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl", sha256="0" * 64),
    ]
    assert missing(bom, [BASH], wheels) == []
    also = Wheel(file="absent-1.0-py3-none-any.whl", sha256="0" * 64)
    assert missing(bom, [BASH], [*wheels, also]) == ["absent 1.0"]
    found = licences(bom)
    assert found["licences"]["GPL-3.0-or-later"] == ["bash 5.2.15-2+b8"]
    assert found["licences"]["MIT License"] == ["long 1"]
    assert found["licences"]["a text without a name"] == ["longer 1"]
    assert found["unnamed"] == ["torch 2.13.0+cpu"]
