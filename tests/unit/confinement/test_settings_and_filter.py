"""The section confinement: of site.yaml, and the system call filter as a file."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from confinement.seccomp import write_filter
from confinement.settings import ConfinementSettings
from confinement.wall import Limits


def test_defaults_are_those_of_the_decision() -> None:
    settings = ConfinementSettings()
    assert settings.sizes() == {"tmp": 256 * 2**20, "shm": 64 * 2**20, "limits": Limits(processes=512)}
    assert settings.limits == Limits(processes=512, open_files=4096, file_size=2 * 2**30)


def test_values_are_read_with_their_units() -> None:
    settings = ConfinementSettings.model_validate({"tmp": "1G", "shm": "2G", "processes": 512, "file_size": "10G"})
    assert (settings.tmp, settings.shm, settings.limits.file_size) == (2**30, 2**31, 10 * 2**30)


@pytest.mark.parametrize(
    "values", [{"temp": "1G"}, {"tmp": "1M"}, {"processes": 1}, {"open_files": 10}, {"shm": 5}, {"file_size": "100T"}]
)
def test_unknown_keys_and_values_out_of_bounds_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ConfinementSettings.model_validate(values)


def test_every_value_is_described() -> None:
    assert all(field.description for field in ConfinementSettings.model_fields.values())


def test_the_filter_is_written_the_same_each_time_and_only_readable(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    write_filter(first)
    write_filter(second)
    write_filter(second)
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) % 8 == 0
    assert len(first.read_bytes()) > 500
    assert stat.S_IMODE(first.stat().st_mode) == 0o444
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]


def test_a_filter_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        write_filter(tmp_path / "none" / "seccomp.bpf")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_filter(tmp_path / "folder")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
