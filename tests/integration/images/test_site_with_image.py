"""A site.yaml that names an image: what `leerlab check` says of it, and what walls run from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import Place

from base.errors import LeerlabError
from base.paths import IMAGE, Installation, State
from hub_config.check import check, load
from hub_config.images import prepare_image, unpacked, with_image
from hub_config.run.start import site_digest
from images.errors import ImageRefused

pytestmark = [pytest.mark.integration, pytest.mark.slow]
CODE = Path(__file__).resolve().parents[3]


def site_file(place: Place, **changes: str) -> Path:
    file = place.shelf.parent / "site.yaml"
    images = {"folder": str(place.shelf), "key": place.source.key.public, "notebook": "small-1", **changes}
    text = (CODE / "hub_config/demo.yaml").read_text()
    file.write_text(text + "\n" + yaml.safe_dump({"images": images}, sort_keys=False))
    return file


def problems(file: Path) -> list[str]:
    lines = file.read_text().splitlines()
    return [f"{lines[each.line - 1].split(':')[0].strip()}: {each}" for each in check(file)]


def test_check_names_the_line_of_what_is_wrong_with_the_image(place: Place) -> None:
    files = place.sealed()
    assert check(site_file(place)) == []
    (wrong,) = problems(site_file(place, notebook="small-2"))
    assert wrong.startswith("notebook: ") and "small-2.squashfs, small-2.json" in wrong and "allowed: small-1" in wrong
    (wrong,) = problems(site_file(place, folder="/nowhere"))
    assert wrong.startswith("folder: ") and "the folder of images does not exist" in wrong
    (wrong,) = problems(site_file(place, key="RWsomething"))
    assert wrong.startswith("key: ") and "no minisign public key" in wrong
    (wrong,) = problems(site_file(place, key=place.source.other_key.public))
    assert wrong.startswith("notebook: ") and "is not by the key" in wrong
    (wrong,) = problems(site_file(place, notebook="../small-1"))
    assert wrong.startswith("notebook: ")
    files.signature.unlink()
    (wrong,) = problems(site_file(place))
    assert "small-1.json.minisig cannot be read" in wrong


def test_the_site_s_walls_run_from_the_image_once_it_is_unpacked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sealed()
    site = load(site_file(place))
    state = State(place.unpacked / "s")
    state.make()
    here = Installation(*(Path("/x", str(number)) for number in range(6)))
    told = with_image(site, state, here)
    assert told.image is not None and told.image.parent == state.images
    assert site_digest(site, told) != site_digest(site, here), "another image is another site to `up`"
    with pytest.raises(LeerlabError, match="not unpacked yet"):
        unpacked(site, state, here)
    prepare_image(site, state, lambda phrase: None, jobs_run=False)
    assert unpacked(site, state, here).image == told.image and told.image.is_dir()
    # What `up` tells the daemons, they know again.
    for name, value in told.environment().items():
        monkeypatch.setenv(name, value)
    assert Installation.current() == told
    monkeypatch.delenv(IMAGE)
    assert Installation.current() == here

    # An image of earlier stays while jobs run from it, and goes afterwards.
    old = state.images / ("0" * 64)
    old.mkdir()
    prepare_image(site, state, lambda phrase: None, jobs_run=True)
    assert old.is_dir()
    prepare_image(site, state, lambda phrase: None, jobs_run=False)
    assert not old.exists() and told.image.is_dir()


def test_up_does_not_begin_with_an_image_of_somebody_else(place: Place) -> None:
    place.sealed()
    site = load(site_file(place))
    place.sealed(key=place.source.other_key)
    state = State(place.unpacked / "s")
    with pytest.raises(ImageRefused, match="not by the key"):
        with_image(site, state, Installation(*(Path("/x") for _ in range(6))))
