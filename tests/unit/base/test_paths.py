"""The state folder: short enough for sockets, private to its owner."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from base.errors import LeerlabError
from base.paths import LONGEST_STATE_PATH, Installation, State


def test_a_site_s_state_is_below_the_xdg_state_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/tmp/ll-x")
    assert State.of_site("demo").root == Path("/tmp/ll-x/leerlab/demo")


def test_a_path_too_long_for_sockets_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/tmp/" + "é" * (LONGEST_STATE_PATH // 2))
    with pytest.raises(LeerlabError, match="XDG_STATE_HOME"):
        State.of_site("demo")


def test_every_folder_is_private_even_when_it_existed_before(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    state.homes.mkdir(parents=True, mode=0o755)
    state.make()
    folders = [state.root, *(path for path in state.root.iterdir() if path.is_dir())]
    assert len(folders) > 5
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_every_path_lies_below_the_root(tmp_path: Path) -> None:
    state = State(tmp_path)
    properties = [name for name, value in vars(State).items() if isinstance(value, property)]
    assert all(getattr(state, name).is_relative_to(tmp_path) for name in properties)


def test_a_process_that_leerlab_did_not_start_is_told_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LEERLAB_CODE", raising=False)
    with pytest.raises(LeerlabError, match="LEERLAB_CODE"):
        Installation.current()
