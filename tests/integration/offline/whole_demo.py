"""Run inside by `test_no_call_leaves.py`: the demo site with every course and the assistant, up, examined, down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from base.ports import free_ports

CODE = Path(__file__).resolve().parents[3]


@pytest.fixture
def whole(short_folder: Path) -> Iterator[tuple[Path, Path]]:
    description = yaml.safe_load((CODE / "hub_config/demo.yaml").read_text())
    description["hub"]["port"] = free_ports(1)[0]
    file = short_folder / "site.yaml"
    file.write_text(yaml.safe_dump(description, allow_unicode=True))
    yield file, short_folder
    _leerlab("down", file, short_folder)


def _leerlab(command: str, file: Path, home: Path) -> str:
    from conftest import leerlab  # the one of all tests

    return leerlab(command, "--json", "--site", str(file), home=home).stdout


def test_the_whole_demo_site_starts_and_is_well(whole: tuple[Path, Path]) -> None:
    assert not json.loads(_leerlab("up", *whole))["already_running"]
    findings = json.loads(_leerlab("doctor", *whole))
    assert [finding for finding in findings if not finding["ok"]] == []
